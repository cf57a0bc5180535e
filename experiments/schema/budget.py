"""Count how long a run is, and how far it goes before `stop_at` ends it: in epochs, or in updates where recipes do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.schema.config import RunConfig
from experiments.schema.epochs import Epochs, of_run
from experiments.schema.errors import UserError

EPOCHS, UPDATES = UNITS = ("epochs", "updates")
_FORM = re.compile(r"(\d+)\s*(epochs?|updates?)?")


@dataclass(frozen=True)
class Budget:
    """A length in one of `UNITS`."""

    count: int
    unit: str = EPOCHS

    def __str__(self) -> str:
        return f"{self.count:,} {self.unit}"


def budget_of(section: Mapping[str, Any]) -> Budget:
    """The budget in a recipe, a record, a cell, a configuration or its schedule (as mappings): `updates`, if they are
    set there, else `epochs`."""
    unit = UPDATES if section.get(UPDATES) is not None else EPOCHS
    return Budget(section[unit], unit)


def stop_of(config: RunConfig) -> int | None:
    """Return the `stop_update` of a whole configuration."""
    return stop_update(config.stop_at, of_run(config), budget_of(vars(config)).unit)


def stop_update(stop_at: str | None, epochs: Epochs, unit: str = EPOCHS) -> int | None:
    """The update after which `stop_at` ends the run: `3epochs` counts epochs as run, `500updates` updates, a number
    alone what the budget counts, `unit`.

    Returns None when nothing is set, the last update for more epochs than there are; raises UserError when the text is
    none of these, or counts epochs of a run that counts updates.
    """
    if stop_at is None:
        return None
    match = _FORM.fullmatch(stop_at.strip())
    forms = "500 or 500updates" if unit == UPDATES else "3 or 3epochs, or 500updates"
    if match is None or int(match[1]) == 0:
        raise UserError(f"stop_at={stop_at} (command line): not a point of a run; write {forms}, from 1 on")
    count, counted = int(match[1]), match[2] or unit
    if counted.startswith("update"):
        return count
    if unit == UPDATES:
        raise UserError(f"stop_at={stop_at} (command line): this run counts updates, not epochs; write {forms}")
    return epochs.ends[min(count, len(epochs.ends)) - 1]
