"""Whatever W&B does, the run is the same. Real mirror processes, with a fake `wandb` module or the real one."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from sealed_runs import make_config, seal_at, train

from experiments.record.events import EventLog, read_events
from experiments.record.trackers import MirrorProcess, NoTracker, open_tracker, replay
from experiments.schema import paths
from experiments.schema.config import TrackConfig
from experiments.schema.errors import UserError

FAKE = '''
"""Writes down every call; misbehaves where FAKE_WANDB says (`init hang`, `log raise`, ...)."""
import json, os, time, types

def called(name, *values):
    with open(os.environ["FAKE_WANDB_CALLS"], "a") as file:
        file.write(json.dumps([name, *values], default=str) + "\\n")
    where, _, how = os.environ.get("FAKE_WANDB", "").partition(" ")
    if where == name:
        if how == "hang":
            time.sleep(600)
        raise ConnectionError("no network")

class Settings(dict):
    pass

class Run:
    def __init__(self):
        self.step = int(os.environ.get("FAKE_WANDB_STEP", "0"))
        self.summary = types.SimpleNamespace(update=lambda values: called("summary", values))
    def log(self, values, step):
        called("log", step, values)
    def finish(self, exit_code):
        called("finish", exit_code)

def init(**arguments):
    called("init", arguments)
    return Run()

called("import")
'''


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Put the fake module before the real one; return a function that reads the calls it got."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("FAKE_WANDB_CALLS", str(tmp_path / "calls.jsonl"))
    monkeypatch.delenv("WANDB_MODE", raising=False)

    def read():
        path = tmp_path / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def tracked_run(new_run):
    return new_run(track=TrackConfig(name="wandb", mode="offline"))


def log_all(tracker, directory) -> None:
    for event in read_events(directory.events_path):
        tracker.log(event)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def test_the_default_needs_nothing_and_keeps_nothing(new_run):
    tracker = open_tracker(make_config(), new_run())
    assert isinstance(tracker, NoTracker)
    tracker.log({"kind": "begin"})
    tracker.finish()


def test_an_unknown_tracker_is_a_users_error(new_run):
    with pytest.raises(UserError, match="track=wandbb is no tracker; did you mean 'wandb'"):
        open_tracker(make_config(track=TrackConfig(name="wandbb")), new_run())


def test_wandb_gets_every_number_of_the_log_at_its_update(tracked_run, calls):
    tracker = open_tracker(tracked_run.config(), tracked_run)
    train(tracked_run)
    log_all(tracker, tracked_run)
    seal_at(tracked_run)
    tracker.finish()
    (_, init), *rest = calls()[1:]
    assert (init["project"], init["mode"], init["name"]) == ("adan-reproduction", "offline", tracked_run.name)
    assert init["config"]["optim"]["lr"] == 0.015
    logged = [call[1:] for call in rest if call[0] == "log"]
    assert logged[:2] == [
        [2, {"train/epoch": 0, "train/loss": 1.0, "train/lr": 0.1}],
        [2, {"evaluation/epoch": 0, "evaluation/eval_loss": 0.75, "evaluation/top1": 81.0}],
    ]
    assert [step for step, _ in logged] == [2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert rest[-2:] == [["summary", {"top1": 89.0, "eval_loss": 0.15}], ["finish", 0]]


def test_a_resumed_run_is_the_same_run_there_and_repeats_nothing(tracked_run, calls, monkeypatch):
    train(tracked_run, until=6)
    assert replay(tracked_run) == 0
    train(tracked_run, after=6)
    monkeypatch.setenv("FAKE_WANDB_STEP", "7")
    assert replay(tracked_run) == 0
    first, second = [call[1] for call in calls() if call[0] == "init"]
    assert first["id"] == second["id"]
    assert second["resume"] == "allow"
    assert [call[1] for call in calls() if call[0] == "log"] == [2, 2, 4, 4, 6, 6, 8, 8, 10, 10]


MISBEHAVIOUR = [f"{where} {how}" for where in ("import", "init", "log", "finish") for how in ("raise", "hang")]


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOUR)
def test_no_failure_of_wandb_reaches_the_run(tracked_run, calls, monkeypatch, caplog, misbehaviour):
    monkeypatch.setenv("FAKE_WANDB", misbehaviour)
    where, how = misbehaviour.split()
    tracker = MirrorProcess(tracked_run, patience=(0.2, 0.2) if how == "hang" else (20.0, 20.0))
    with caplog.at_level(logging.WARNING):
        train(tracked_run)
        log_all(tracker, tracked_run)
        pid = tracker._process.pid
        if where != "finish":
            wait_until(lambda: any(call[0] == where for call in calls()))
            log_all(tracker, tracked_run)
        seal_at(tracked_run)
        tracker.finish()
        log_all(tracker, tracked_run)
        tracker.finish()
    (warning,) = [entry.getMessage() for entry in caplog.records]
    assert "The run is not touched" in warning and f"mirror {tracked_run.path}" in warning
    assert not is_alive(pid)
    assert tracked_run.status() == "finished"
    monkeypatch.delenv("FAKE_WANDB")
    assert replay(tracked_run) == 0  # nothing is lost
    assert calls()[-1] == ["finish", 0]


def test_a_mirror_that_cannot_start_is_one_warning(tracked_run, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    tracker = open_tracker(tracked_run.config(), tracked_run)
    train(tracked_run)
    log_all(tracker, tracked_run)
    tracker.finish()
    assert len(caplog.records) == 1
    assert "could not be started" in caplog.text


def test_a_mirror_whose_run_was_killed_sends_what_there_is_and_ends(tracked_run, calls):
    script = """
import os, signal, sys
from pathlib import Path
from experiments.record.run_directory import RunDirectory
from experiments.record.trackers import open_tracker

directory = RunDirectory(Path(sys.argv[1]))
open_tracker(directory.config(), directory).log({})
os.kill(os.getpid(), signal.SIGKILL)
"""
    train(tracked_run, until=4)
    done = subprocess.run([sys.executable, "-c", script, str(tracked_run.path)], cwd=paths.ROOT)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: calls()[-1:] == [["finish", 1]])
    assert [call[1] for call in calls() if call[0] == "log"] == [2, 2, 4, 4]


def test_a_live_mirror_shows_events_as_they_come(tracked_run, calls):
    tracker = open_tracker(tracked_run.config(), tracked_run)
    train(tracked_run, until=2)
    tracker.log({})
    wait_until(lambda: len([call for call in calls() if call[0] == "log"]) == 2)
    log = EventLog(tracked_run.events_path)
    log.append("train", epoch=1, update=4, loss=float("nan"))
    wait_until(lambda: len([call for call in calls() if call[0] == "log"]) == 3)
    tracker.finish()
    assert calls()[-1] == ["finish", 1]  # not sealed


def test_a_real_offline_run(tracked_run, monkeypatch, caplog):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = MirrorProcess(tracked_run, patience=(60.0, 60.0))
    train(tracked_run)
    log_all(tracker, tracked_run)
    seal_at(tracked_run)
    tracker.finish()
    assert caplog.records == []
    (file,) = tracked_run.path.glob("wandb/offline-run-*/run-*.wandb")
    content = file.read_bytes()
    assert b"evaluation/top1" in content and b"train/loss" in content
