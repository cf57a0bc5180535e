"""How long a run is, and how far it goes before `stop_at` ends it: in epochs, or in updates where its recipe does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def stop_update(stop_at: str | None, updates_per_epoch: int | None) -> int | None:
    """The update after which `stop_at` ends the run: `3` and `3epochs` count epochs as run, `500updates` updates.
    `updates_per_epoch` is None for a run that counts updates, where `500` means updates, too.

    Returns None when nothing is set; raises UserError when the text is none of these.
    """
    if stop_at is None:
        return None
    match = _FORM.fullmatch(stop_at.strip())
    counts_updates = updates_per_epoch is None
    forms = "500 or 500updates" if counts_updates else "3 or 3epochs, or 500updates"
    if match is None or int(match[1]) == 0:
        raise UserError(f"stop_at={stop_at} (command line): not a point of a run; write {forms}, from 1 on")
    count, unit = int(match[1]), match[2] or (UPDATES if counts_updates else EPOCHS)
    if unit.startswith("update"):
        return count
    if updates_per_epoch is None:
        raise UserError(f"stop_at={stop_at} (command line): this run counts updates, not epochs; write {forms}")
    return count * updates_per_epoch
