"""What befalls a run from outside while it trains: a sentence, status 1, and the same command goes on."""

from __future__ import annotations

import signal

import pytest

from experiments.launch import elastic, worker
from experiments.launch.status import REQUEUE
from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.training.step import Step

READER = "DataLoader worker (pid 11) is killed by signal: "
GLOO = (
    "[/pytorch/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:25: Connection reset by peer. This is typically"
)
ACCIDENTS = {
    "a reader": (RuntimeError(READER + "Killed. "), f"({READER}Killed)"),
    "a reader without memory": (RuntimeError(READER + "Bus error. Raise the limit."), "Bus error. Raise the limit)"),
    "another rank": (RuntimeError(GLOO), "rank 0 lost another rank, which ended or was killed (Read error [127.0.0.1]"),
    "a full disk": (OSError(28, "No space left on device", "a.json"), "a.json could not be written: No space left on"),
}


@pytest.fixture
def run_with(folders, monkeypatch):
    """The status of a run whose second update, wherever it is, raises an error."""

    def run(error: Exception) -> int:
        config = compose(["exp=vit_small", "data=digits", "batch_size=16384", "launch.threads=1", "stop_at=2updates"])[
            0
        ]
        step = Step.__call__

        def stepping(self, update, *arguments):
            if update == 2:
                raise error
            return step(self, update, *arguments)

        monkeypatch.setattr(Step, "__call__", stepping)
        return worker.run(RunDirectory.open_or_create(paths.RUNS, config).path)

    return run


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_an_accident_is_told_in_one_sentence(run_with, monkeypatch, capsys, accident):
    error, sentence = ACCIDENTS[accident]
    if accident == "another rank":
        train = worker._train

        def as_one_of_two(directories):
            try:
                return train(directories)
            finally:
                monkeypatch.setenv("WORLD_SIZE", "2")
                monkeypatch.setenv("RANK", "0")

        monkeypatch.setattr(worker, "_train", as_one_of_two)
    assert run_with(error) == 1
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert sentence in said and said.endswith("; the same command goes on from the last checkpoint")


@pytest.mark.parametrize(
    "message", ["mat1 and mat2 cannot be multiplied", "Caught KeyError in DataLoader worker process 0."]
)
def test_a_mistake_in_code_is_no_accident(run_with, message):
    with pytest.raises(RuntimeError, match=message):
        run_with(RuntimeError(message))


@pytest.mark.parametrize(
    ("codes", "status", "said"),
    [
        ([-signal.SIGKILL, -signal.SIGTERM], 1, "ranks were killed (SIGKILL), for want of memory? the same command"),
        ([REQUEUE, -signal.SIGSEGV], 1, "ranks were killed (SIGSEGV)"),
        ([-signal.SIGKILL, 134], 1, "ranks were killed (SIGKILL, status 134)"),
        ([1, -signal.SIGKILL], 1, ""),
        ([-signal.SIGTERM, 2], 2, ""),
        ([-signal.SIGTERM, REQUEUE], REQUEUE, ""),
    ],
)
def test_a_rank_that_was_killed_decides_over_those_that_were_ended_for_it(capsys, codes, status, said):
    assert elastic._status(codes) == status
    error = capsys.readouterr().err
    assert said in error and bool(said) == bool(error)
