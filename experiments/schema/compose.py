"""The command line into configurations, one per run. Hydra runs here, once, in the parent, and nowhere else.

Names and values are checked before Hydra sees them, so that a mistake is answered in our words.
"""

from __future__ import annotations

from pathlib import Path

from experiments.schema import overrides, paths, searches, tables
from experiments.schema.config import RunConfig
from experiments.schema.resolve import resolve

__all__ = ["compose", "resolve"]


def compose(arguments: list[str], configs: Path = paths.CONFIGS) -> list[RunConfig]:
    """The configuration of each run that `arguments` ask for: one, a sweep's points, the cells of a table, or
    the combinations of a search.

    Raises UserError for anything that is no configuration, naming the value, its origin and the nearest choice.
    """
    asked = overrides.parse(arguments)
    searched = [run for point in asked for run in searches.expand(point, configs)]
    points = [cell for point in searched for cell in tables.expand(point, configs)]
    return [resolve(point.choices, point.values, configs) for point in points]
