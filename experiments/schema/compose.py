"""The command line into configurations, one per run. Hydra runs here, once, in the parent, and nowhere else.

Names and values are checked before Hydra sees them, so that a mistake is answered in our words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.schema import overrides, paths, tables
from experiments.schema.config import RunConfig
from experiments.schema.point import Point
from experiments.schema.resolve import resolve

__all__ = ["compose", "expand", "resolve"]


def compose(arguments: list[str], configs: Path = paths.CONFIGS) -> list[RunConfig]:
    """The configuration of each run that `arguments` ask for, as the files and the command line say; whether it can be
    a run, and what it inherits, is not looked at (`experiments.launch.configurations`).

    Raises UserError for anything that is no configuration, naming the value, its origin and the nearest choice.
    """
    return [resolve(point.choices, point.values, configs) for point in expand(overrides.parse(arguments), configs)]


def expand(asked: Sequence[Point], configs: Path = paths.CONFIGS) -> list[Point]:
    """One point for each run: the cells of a table in the place of those that name it. Raises UserError for one that
    does not exist."""
    return [cell for point in asked for cell in tables.expand(point, configs)]
