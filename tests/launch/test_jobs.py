"""Children that train one run after another, and what happens when one dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from experiments.launch import jobs as jobs_module
from experiments.launch.jobs import Child, Jobs
from experiments.launch.status import REQUEUE, USER_ERROR


def test_a_child_answers_every_run_and_a_run_that_is_none_fails_alone(folders: Path):
    with Jobs(count=1) as jobs:
        results = list(jobs.map([folders / "a", folders / "b"]))
        pids = {child.process.pid for child in jobs._idle}
    assert results == [(folders / "a", USER_ERROR), (folders / "b", USER_ERROR)]
    assert len(pids) == 1  # imports were paid for once


def test_a_child_that_is_killed_is_reported_and_replaced(folders: Path, monkeypatch):
    started: list[Child] = []
    start = Child.start

    def kill_the_first(child: Child, path: Path) -> None:
        started.append(child)
        if len(started) == 1:
            os.kill(child.process.pid, signal.SIGKILL)
            child.process.join()
        else:
            start(child, path)

    monkeypatch.setattr(jobs_module.Child, "start", kill_the_first)
    with Jobs(count=1) as jobs:
        results = list(jobs.map([folders / "a", folders / "b"]))
    assert results == [(folders / "a", -signal.SIGKILL), (folders / "b", USER_ERROR)]
    assert started[0].process.pid != started[1].process.pid


def test_stop_begins_no_other_run(folders: Path):
    begun = []

    def directories():
        for name in ("a", "b", "c"):
            begun.append(name)
            yield folders / name

    with Jobs(count=1) as jobs:
        for _path, _status in jobs.map(directories()):
            jobs.stop()
    assert begun == ["a"]


def test_an_idle_child_leaves_on_sigterm(folders: Path):
    child = Child(0, quiet=False)
    child.start(folders / "a")
    assert child.result() == USER_ERROR
    child.terminate()
    child.process.join()
    assert child.process.exitcode in (REQUEUE, -signal.SIGTERM)


def test_with_several_jobs_output_goes_to_the_runs_own_log(folders: Path, capfd):
    paths = [folders / "a", folders / "b"]
    for path in paths:
        path.mkdir()
    with Jobs(count=2) as jobs:
        assert dict(jobs.map(paths)) == dict.fromkeys(paths, USER_ERROR)
    assert all("is not a run directory" in (path / "output.log").read_text() for path in paths)
    assert capfd.readouterr() == ("", "")
