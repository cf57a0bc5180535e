"""Made-up records of a tuning: what its trials and fresh runs would have left behind, by the configuration of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from experiments.record.run_directory import run_name
from experiments.schema.digest import config_digest
from experiments.schema.point import Point
from experiments.schema.resolve import resolve
from experiments.schema.tunings import Candidate, Tuning, candidate
from experiments.schema.typed import to_dict

FULL, HALF = Fraction(1), Fraction(1, 2)


def record(point: Point, metric: str, value: float, **changes: Any) -> dict[str, Any]:
    """The sealed record of the run that `point` composes to; NaN: a loss that was not finite ended it."""
    config = resolve(point.choices, point.values)
    tree = to_dict(config)
    choices = {key: tree[key] for key in ("exp", "recipe", "epochs", "updates", "scale", "batch_size", "seed")}
    lost = math.isnan(value)
    return {
        **choices,
        "optim": config.optim["name"],
        "run": run_name(tree),
        "config": tree,
        "config_digest": config_digest(config),
        "overrides": config.overrides,
        "status": "diverged" if lost else "finished",
        "summary": {} if lost else {metric: {"last": value, "best": value, "reported": "last"}},
        "progress": {"epoch": 20, "total_epochs": 21},
        "wall_seconds": 30.0,
        **changes,
    }


def taken_up(tuning: Tuning, exp: str, optim: str) -> Candidate:
    return candidate(tuning, exp, optim, Point({"scale": "mini"}))


def trials(one: Candidate, value_of: Callable[[float], float], metric: str = "val_top1") -> list[dict[str, Any]]:
    """A record of every trial, whose value is a function of its learning rate."""
    return [record(point, metric, value_of(point.values["optim.lr"])) for point in one.trials()]


def fresh(
    one: Candidate, chosen: dict[str, float], budget: Fraction, values: Sequence[float], metric: str = "top1"
) -> list[dict[str, Any]]:
    """A record of each fresh seed that has a value."""
    points = one.fresh(chosen, budget)
    return [record(point, metric, value) for point, value in zip(points, values, strict=False)]
