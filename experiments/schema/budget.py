"""How far a run goes before `stop_at` ends it."""

from __future__ import annotations

import re

from experiments.schema.epochs import Epochs
from experiments.schema.errors import UserError

_FORM = re.compile(r"(\d+)\s*(epochs?|updates?)?")


def stop_update(stop_at: str | None, epochs: Epochs) -> int | None:
    """The update after which `stop_at` ends the run: `3` and `3epochs` count epochs as run, `500updates` updates.

    Returns None when nothing is set, the last update for more epochs than there are; raises UserError when the text is
    neither.
    """
    if stop_at is None:
        return None
    match = _FORM.fullmatch(stop_at.strip())
    if match is None or int(match[1]) == 0:
        raise UserError(
            f"stop_at={stop_at} (command line): not a point of a run; write 3 or 3epochs, or 500updates, from 1 on"
        )
    count, unit = int(match[1]), match[2] or "epochs"
    return count if unit.startswith("update") else epochs.ends[min(count, len(epochs.ends)) - 1]
