"""Kinds of experiment by name; a task's module is imported when it is named."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from experiments import data, environments
from experiments.data.glue import identity as identity_of_glue_data  # `glue` here is the task's module
from experiments.data.glue import missing as missing_glue_data
from experiments.data.subwords import documents
from experiments.record.parent import missing_weights
from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from experiments.schema.config import RunConfig
    from experiments.training.task import Part, Task

# name -> (module, class called with (config, part), or with (config, part, seeds) for several seeds at once)
TASKS = {
    "image_classification": ("experiments.tasks.image_classification", "ImageClassification"),
    "ppo": ("experiments.tasks.ppo", "PPO"),
    "masked_language_modelling": ("experiments.tasks.masked_language_modelling", "MaskedLanguageModelling"),
    "glue": ("experiments.tasks.glue", "Glue"),
    "lstm_language_modelling": ("experiments.tasks.lstm_language_modelling", "LSTMLanguageModelling"),
    "transformer_xl": ("experiments.tasks.transformer_xl", "TransformerXLTask"),
}
OF_SEVERAL_SEEDS = ("ppo",)


def build(config: RunConfig, part: Part, seeds: Sequence[int] = ()) -> Task:
    """Build the task `config.task`: its data, and its module initialised from the seed; for several `seeds` at once
    where the task is one of `OF_SEVERAL_SEEDS`.

    Raises UserError when the name is unknown, and whatever the task itself refuses.
    """
    if config.task not in TASKS:
        raise UserError(f"task={config.task!r} is no kind of task{suggestion(config.task, TASKS)}")
    module, name = TASKS[config.task]
    return getattr(import_module(module), name)(config, part, *([seeds] if len(seeds) > 1 else []))


def missing(config: RunConfig) -> str | None:
    """What the user must provide before `build` can work, in one sentence, or None. Fast; imports no torch.

    Raises UserError for a game or an engine that does not exist.
    """
    try:
        return _missing(config)
    except OSError as error:  # a folder that may not be entered
        return f"cannot read {error.filename}: {error.strerror or error}"


def _missing(config: RunConfig) -> str | None:
    if config.task == "ppo":
        environments.check(config.ppo.game, config.ppo.engine)
        return None
    if config.task == "masked_language_modelling":
        return documents.missing(config.data)
    if config.task == "glue":
        return missing_glue_data(config.data, config.glue.name) or missing_weights(config)
    return data.missing(config.data)


def data_identity(config: RunConfig) -> dict[str, Any]:
    """What the run would read, by its contents (`experiments.record.same_data`). Imports no torch; takes as long as to
    look at every file, and where they were never read before, to read them.

    Raises UserError when data are missing or cannot be read.
    """
    if config.task == "ppo":
        environments.check(config.ppo.game, config.ppo.engine)
        return {"name": "mujoco", **environments.identity(config.ppo.game, config.ppo.engine)}
    if config.task == "masked_language_modelling":
        return documents.identity(config.data)
    if config.task == "glue":
        return identity_of_glue_data(config.data, config.glue.name)
    return data.identity(config.data)
