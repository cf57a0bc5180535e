"""Kinds of experiment. What is known about each before it is built is in `catalogue`; its class is imported when a run
of it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.record.parent import missing_weights
from experiments.schema.task_info import info

if TYPE_CHECKING:
    from experiments.schema.config import RunConfig
    from experiments.training.task import Part, Task


def build(config: RunConfig, part: Part, seeds: Sequence[int] = ()) -> Task:
    """Build the task `config.task`: its data, and its module initialised from the seed, or with what it adopts from
    its parent; for several `seeds` at once where the kind of task can.

    Raises UserError when the name is unknown, and whatever the task itself refuses.
    """
    task = info(config.task).load()(config, part, *([seeds] if len(seeds) > 1 else []))
    if config.parent:
        from experiments.training.inherited import parent_state

        task.adopt(*parent_state(config))
    return task


def missing(config: RunConfig) -> str | None:
    """What the user must provide before `build` can work, in one sentence, or None. Fast; imports no torch.

    Raises UserError for what does not exist, such as a game.
    """
    try:
        return info(config.task).missing(config) or missing_weights(config)
    except OSError as error:  # a folder that may not be entered
        return f"cannot read {error.filename}: {error.strerror or error}"


def data_identity(config: RunConfig) -> dict[str, Any]:
    """What the run would read, by its contents (`experiments.record.same_data`). Imports no torch; takes as long as to
    look at every file, and where they were never read before, to read them.

    Raises UserError when data are missing or cannot be read.
    """
    return info(config.task).identity(config)
