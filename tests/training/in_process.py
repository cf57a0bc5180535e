"""Runs in the test's own process, and what is compared of them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from small_run import SMALL

from experiments.record.verify import verify
from experiments.schema.compose import compose
from experiments.training.loop import Run

TINY = ["model.arguments.depth=1", "model.arguments.embed_dim=16"]
LSTM = ["exp=ptb_lstm_1", "launch.threads=1"]


def small(*overrides: str):
    given = {override.split("=")[0] for override in overrides}
    return compose([*(text for text in SMALL if text.split("=")[0] not in given), *overrides])[0]


def lstm(*overrides: str):
    return compose([*LSTM, *overrides])[0]


def outcome(path: Path) -> dict:
    assert verify(path) == []
    record = json.loads((path / "record.json").read_text())
    return {key: record[key] for key in ("status", "summary", "parameters_digest", "events", "progress")}


def state_of(run: Run) -> list[dict]:
    """Everything that updates change."""
    (player,) = run.players.values()
    optimizer = player.optimizer.state_dict()["state"]
    return [run.task.module.state_dict(), *optimizer.values()]


def assert_same(one: list[dict], other: list[dict]) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(b[key])), key
