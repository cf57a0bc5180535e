"""A run that was killed, anywhere, ends like one that was left alone: parameters, metrics and event chain."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from killing import kill_at_update, kill_in_save, print_into, train_in_child
from small_run import UPDATES

from experiments.record.verify import verify

KILLED = -signal.SIGKILL
SLOW = pytest.mark.slow
BATCHED = (
    "augmentation.pipeline=batched",
    "augmentation.scale=[1,1]",
    "augmentation.ratio=[1,1]",
    "augmentation.auto_augment=null",
    "augmentation.padding=3",
    "augmentation.cutout=8",
)


def record_of(path: Path) -> dict:
    assert verify(path) == []
    return json.loads((path / "record.json").read_text())


def outcome(path: Path) -> dict:
    record = record_of(path)
    return {key: record[key] for key in ("status", "summary", "parameters_digest", "events", "progress")}


@pytest.fixture(scope="session")
def undisturbed() -> dict[str, dict]:
    return {}


def reference(undisturbed: dict[str, dict], begin, *overrides: str) -> dict:
    """Outcome of the same run, never interrupted; computed once."""
    key = " ".join(overrides)
    if key not in undisturbed:
        path = begin("undisturbed", *overrides)
        assert train_in_child(path) == 0
        undisturbed[key] = outcome(path)
    return undisturbed[key]


@pytest.mark.parametrize("update", [1, pytest.param(5, marks=SLOW), 11, 12, pytest.param(23, marks=SLOW), UPDATES])
def test_killed_before_an_update(begin, undisturbed, update):
    path = begin("killed", "optim=adan")
    assert train_in_child(path, kill_at_update, update) == KILLED
    assert train_in_child(path) == 0
    assert outcome(path) == reference(undisturbed, begin, "optim=adan")
    assert record_of(path)["restarts"] == 1


@pytest.mark.parametrize(
    ("save", "stage"),
    [
        (2, "half written"),
        (1, "before rename"),
        (3, "after rename"),
        *(pytest.param(save, "half written", marks=SLOW) for save in (1, 3)),
        *(pytest.param(save, "before rename", marks=SLOW) for save in (2, 3)),
        *(pytest.param(save, "after rename", marks=SLOW) for save in (1, 2)),
    ],
)
def test_killed_while_a_checkpoint_is_saved(begin, undisturbed, save, stage):
    path = begin("killed", "optim=adan")
    assert train_in_child(path, kill_in_save, save, stage) == KILLED
    assert train_in_child(path) == 0
    assert outcome(path) == reference(undisturbed, begin, "optim=adan")
    assert not list((path / "checkpoints").glob(".*"))


@pytest.mark.parametrize(
    "overrides",
    [
        ("optim=adan", "optim.max_grad_norm=0.5", "ema_decay=0.9", "model.drop_path=0.2"),
        ("optim=sgd", "optim.lr=0.1", "clip_grad_norm=1.0", "launch.micro_batch=32"),
        ("exp=resnet18", "batch_size=1024", "optim=sam"),
        pytest.param(("optim=lamb", "precision=bf16", "augmentation.random_erasing=0.5"), marks=SLOW),
        ("optim=adan", "precision=fp16", "model.arguments.depth=1", "model.arguments.embed_dim=16"),
        pytest.param(("optim=adan", "data.workers=2"), marks=SLOW),
        pytest.param(("optim=adan", *BATCHED), marks=SLOW),
        pytest.param(("optim=muon", "precision=fp16"), marks=SLOW),
    ],
    ids=["ema", "accumulation", "sam", "bf16", "fp16", "workers", "batched images", "two optimizers in one"],
)
def test_killed_twice_with_every_kind_of_state(begin, undisturbed, overrides):
    path = begin("killed", *overrides)
    assert train_in_child(path, kill_at_update, 5) == KILLED
    assert train_in_child(path, kill_at_update, 17) == KILLED
    assert train_in_child(path) == 0
    assert outcome(path) == reference(undisturbed, begin, *overrides)
    assert record_of(path)["restarts"] == 2


def test_what_a_kill_cut_off_is_kept(begin):
    path = begin("killed", "optim=adan", "checkpoint.every=2")
    assert train_in_child(path, kill_at_update, 15) == KILLED
    written = (path / "events.jsonl").read_text()
    assert len(written.splitlines()) == 3  # begin, train, evaluation: no checkpoint yet
    assert train_in_child(path) == 0
    assert (path / "events.tail-1.jsonl").read_text() == written


def test_a_flipped_bit_in_the_newest_checkpoint_falls_back_to_the_one_before(begin, undisturbed):
    path = begin("killed", "optim=adan")
    assert train_in_child(path, kill_at_update, 25) == KILLED
    older, newest = sorted((path / "checkpoints").iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert train_in_child(path) == 0
    assert outcome(path) == reference(undisturbed, begin, "optim=adan")
    assert f'"file":"{newest.name}"' in (path / "timing.jsonl").read_text()
    assert older.name.startswith("update-00000011")


def test_removed_checkpoints_begin_the_run_again_and_it_says_so(begin, undisturbed):
    path = begin("removed", "optim=adan")
    assert train_in_child(path, kill_at_update, 25) == KILLED
    written = (path / "events.jsonl").read_bytes()
    for checkpoint in (path / "checkpoints").iterdir():
        checkpoint.unlink()
    printed = path.parent / "printed"
    assert train_in_child(path, print_into, printed) == 0
    sentence = printed.read_text().splitlines()[0]
    assert sentence.startswith("the run was begun before, but has no checkpoint")
    kept = path.parent / sentence.rpartition(" ")[2]
    assert kept == path / "events.tail-1.jsonl"
    assert kept.read_bytes() == written
    assert outcome(path) == reference(undisturbed, begin, "optim=adan")


def test_sigterm_checkpoints_at_the_next_update_and_asks_to_be_run_again(begin, undisturbed):
    path = begin("terminated", "optim=adan")
    assert train_in_child(path, kill_at_update, 15, signal.SIGTERM) == 75
    assert max(file.name for file in (path / "checkpoints").iterdir()).startswith("update-00000015")
    assert not (path / "record.json").exists()
    assert train_in_child(path) == 0
    assert outcome(path) == reference(undisturbed, begin, "optim=adan")


@pytest.mark.parametrize("stop_at", ["1", "17updates"])
def test_a_partial_run_is_sealed_and_goes_on_as_if_it_had_never_stopped(begin, undisturbed, stop_at):
    path = begin("partial", "optim=adan", f"stop_at={stop_at}")
    assert train_in_child(path) == 0
    partial = outcome(path)
    assert partial["status"] == "partial"
    assert partial["progress"]["update"] == (11 if stop_at == "1" else 17)
    assert begin("partial", "optim=adan") == path
    assert train_in_child(path) == 0
    assert outcome(path) == reference(undisturbed, begin, "optim=adan")
    assert [file.name for file in path.glob("record.partial-*.json")] == [
        f"record.partial-{partial['progress']['update']}.json"
    ]


def test_at_least_two_checkpoints_are_kept(begin):
    path = begin("kept", "optim=adan", "checkpoint.keep=1")
    assert train_in_child(path) == 0
    names = sorted(file.name[:15] for file in (path / "checkpoints").iterdir())
    assert names == ["update-00000022", "update-00000033"]
