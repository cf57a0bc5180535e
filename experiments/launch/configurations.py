"""The one road from what was asked for to runs that can begin: resolved, checked, and with what they inherit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.launch.inheritance import inherit
from experiments.schema import paths
from experiments.schema.check import check
from experiments.schema.config import RunConfig
from experiments.schema.point import Point
from experiments.schema.resolve import resolve


def configurations(points: Sequence[Point], configs: Path = paths.CONFIGS) -> list[RunConfig]:
    """Return the configuration of each of `points`, none of which is a table or a tuning
    (`experiments.schema.compose.expand`). Raises UserError for the first that cannot be a run."""
    resolved = [resolve(point.choices, point.values, configs) for point in points]
    for config in resolved:
        check(config)
    return inherit(resolved)
