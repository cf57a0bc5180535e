"""Run directories under a folder of the test, and processes that die when a test wants them to."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.record.run_directory import RunDirectory
from experiments.schema import paths


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results go to a folder of the test."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to wait for the disk: what a killed process has written stays, only a power loss would need it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def new_run(runs: Path) -> Callable[..., RunDirectory]:
    """Create or reopen the run of `make_config` with some fields changed."""
    return lambda **changes: RunDirectory.open_or_create(runs, make_config(**changes))


@pytest.fixture
def finished_run(new_run: Callable[..., RunDirectory]) -> RunDirectory:
    """A sealed run."""
    directory = new_run()
    train(directory)
    seal_at(directory)
    return directory


@pytest.fixture
def kill_at_every_line() -> Callable[..., int]:
    """A function (prepare, act, check, *modules): for n = 1, 1 + step, ... calls `prepare()`, runs `act()` in a child
    that SIGKILLs itself before the n-th line executed in one of `modules`, then calls `check()` here; until a child
    lives to the end. Returns how many lines that child ran."""

    def run(prepare: Callable, act: Callable, check: Callable, *modules, step: int = 1) -> int:
        files = {module.__file__ for module in modules}
        for line in range(1, 1000, step):
            prepare()
            child = os.fork()
            if child == 0:
                try:
                    sys.settrace(_killer(files, line))
                    act()
                finally:
                    os._exit(1 if sys.exc_info()[0] else 0)
            _, status = os.waitpid(child, 0)
            check()
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0
                return line - 1
            assert os.WTERMSIG(status) == signal.SIGKILL
        raise AssertionError("the action never ended")

    return run


def _killer(files: set[str], line: int) -> Callable:
    seen = 0

    def trace(frame, event, _argument):
        nonlocal seen
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace
