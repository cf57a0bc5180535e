"""Kinds of experiment by name; a task's module is imported when it is named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from experiments.schema.config import RunConfig
    from experiments.training.task import Part, Task

# name -> (module, class called with (config, part))
TASKS = {"image_classification": ("experiments.tasks.image_classification", "ImageClassification")}


def build(config: RunConfig, part: Part) -> Task:
    """Build the task `config.task`: its data, and its module initialised from the seed.

    Raises UserError when the name is unknown, and whatever the task itself refuses.
    """
    if config.task not in TASKS:
        raise UserError(f"task={config.task!r} is no kind of task{suggestion(config.task, TASKS)}")
    module, name = TASKS[config.task]
    return getattr(import_module(module), name)(config, part)
