"""TensorBoard shows what the log says: every number once, none of updates that were undone. Real mirror processes."""

from __future__ import annotations

import json
import os
import signal

import pytest
from sealed_runs import make_config, seal_at, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.record import trackers
from experiments.record.events import read_events
from experiments.record.trackers import MirrorProcess, open_tracker, replay
from experiments.schema.config import TrackConfig
from experiments.schema.errors import UserError


@pytest.fixture
def run(new_run):
    return new_run(track=TrackConfig(name="tensorboard"))


def shown(directory) -> dict[str, list[tuple[int, float]]]:
    """Every scalar that TensorBoard reads from the run's folder: (update, value) by tag."""
    reader = EventAccumulator(str(directory.path / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(one.step, one.value) for one in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def said(directory, kind: str, key: str) -> list[tuple[int, float]]:
    """The same from the log."""
    events = [event for event in read_events(directory.events_path) if event["kind"] == kind]
    return [(event["update"], pytest.approx(event[key])) for event in events]


def log_all(tracker, directory) -> None:
    for event in read_events(directory.events_path):
        tracker.log(event)


def test_every_number_of_the_log_is_shown_once_at_its_update(run):
    tracker = open_tracker(run.config(), run)
    assert isinstance(tracker, MirrorProcess)
    train(run)
    log_all(tracker, run)
    seal_at(run)
    tracker.finish()
    scalars = shown(run)
    assert scalars["train/loss"] == said(run, "train", "loss")
    assert scalars["evaluation/top1"] == said(run, "evaluation", "top1")
    assert [value for _, value in scalars["result/top1"]] == [89.0]


def test_a_resumed_run_whose_first_process_was_killed_shows_each_point_once(run):
    train(run, until=6)
    first = open_tracker(run.config(), run)
    log_all(first, run)
    os.kill(first._process.pid, signal.SIGKILL)
    train(run, until=10, after=6)
    second = open_tracker(run.config(), run)
    log_all(second, run)
    second.finish()
    assert shown(run)["train/loss"] == said(run, "train", "loss")
    assert len(shown(run)["train/loss"]) == 5


def test_points_of_updates_that_were_undone_are_gone(run):
    train(run, until=8)
    first = open_tracker(run.config(), run)
    log_all(first, run)
    first.finish()
    assert max(update for update, _ in shown(run)["train/loss"]) == 8
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line).get("update", 0) <= 4]
    run.events_path.write_bytes(b"".join(kept))  # cut back to the checkpoint at update 4
    second = open_tracker(run.config(), run)
    log_all(second, run)
    second.finish()
    assert shown(run)["train/loss"] == said(run, "train", "loss")
    assert max(update for update, _ in shown(run)["train/loss"]) == 4


def test_a_finished_run_can_be_shown_afterwards(finished_run, new_run):
    assert replay(finished_run) == 0  # it was made without a tracker
    assert shown(finished_run)["evaluation/top1"] == said(finished_run, "evaluation", "top1")


def test_without_its_package_the_tracker_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"track=tensorboard needs the package tensorboard: pip install -e '.\[tensor"):
        trackers.require(make_config(track=TrackConfig(name="tensorboard")))


def test_a_folder_that_cannot_be_written_leaves_the_run_alone(run, caplog):
    (run.path / "tensorboard").write_text("a file where the folder should be")
    tracker = open_tracker(run.config(), run)
    train(run)
    log_all(tracker, run)
    seal_at(run)
    tracker.finish()
    assert f"the TensorBoard mirror of {run.name} is off" in caplog.text
    assert run.record()["status"] == "finished"
