"""Several ranks of one run that are interrupted, resumed, or meet a mistake alone. Real gloo processes."""

from __future__ import annotations

import json
from pathlib import Path

from test_split import train_with_ranks

from experiments.record.verify import verify

BATCH_NORM = ["exp=resnet18", "optim=sgd", "batch_size=1024", "schedule.epochs=4", "evaluation.every=2", "optim.lr=0.1"]


def outcome(path: Path) -> dict:
    assert verify(path) == []
    record = json.loads((path / "record.json").read_text())
    return {key: record[key] for key in ("summary", "parameters_digest", "events")}


def test_batch_statistics_of_every_rank_and_of_the_average_survive_a_stop(begin):
    overrides = [*BATCH_NORM, "ema_decay=0.9"]
    straight = begin("straight", *overrides)
    train_with_ranks(straight, 2)
    stopped = begin("stopped", *overrides, "stop_at=15updates")  # between two evaluations, in mid-epoch
    train_with_ranks(stopped, 2)
    assert begin("stopped", *overrides) == stopped
    train_with_ranks(stopped, 2)
    assert outcome(stopped) == outcome(straight)
