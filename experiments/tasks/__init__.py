"""Kinds of experiment. What is known about each before it is built is in `catalogue`; its class is imported when a run
of it is built.

A kind of task of your own needs no change here. This is a whole one, the file `my_package.py`:

    import torch
    from experiments.schema.task_info import TaskInfo
    from experiments.training.task import Loss

    class Line:
        def __init__(self, config, part):
            torch.manual_seed(config.seed)
            self.config, self.part, self.module = config, part, torch.nn.Linear(1, 1)

        def count(self, update):
            return self.config.global_batch_size

        def micro_batches(self, update):
            x = torch.rand(self.config.global_batch_size, 1, generator=torch.Generator().manual_seed(update))
            yield from zip(x.split(self.part.micro_batch), (3 * x + 1).split(self.part.micro_batch))

        def loss(self, module, batch):
            x, y = batch
            return Loss((module(x) - y).square().sum())

        def evaluate(self, module):
            return {"distance": abs(module.weight.item() - 3)}

        def manifest(self):
            return {"name": "line"}

        def state(self):
            return {}

        def load(self, state):
            pass

    LINE = TaskInfo(name="line", implementation="my_package:Line", data="points", missing=lambda config: None,
                    identity=lambda config: {"name": "line"}, build_model=lambda model, data: torch.nn.Linear(1, 1))

Beside it lie `configs/data/points.yaml` and `configs/exp/line.yaml`:

    name: points
    train_size: 320

    title: The slope of a line
    task: line
    data: points
    default_recipe: plain
    settings:
      metrics: {distance: {direction: min}}
    recipes:
      plain: {batch_size: 32, epochs: 20, optimizers: {adam: {settings: {optim: {lr: 0.1}}}}}
    mini: {data: points, factors: {epochs: 1, batch_size: 1}}

and its `pyproject.toml` announces the two, so that `python run.py exp=line optim=adam` trains it:

    [project.entry-points."adan_reproduction.tasks"]
    line = "my_package:LINE"
    [project.entry-points."adan_reproduction.configs"]
    line = "my_package"
"""

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
    """Say what the user must provide before `build` can work, in one sentence, or None. Fast; imports no torch.

    Raises UserError for what does not exist, such as a game.
    """
    try:
        return info(config.task).missing(config) or missing_weights(config)
    except OSError as error:  # a folder that may not be entered
        return f"cannot read {error.filename}: {error.strerror or error}"


def data_identity(config: RunConfig) -> dict[str, Any]:
    """Identify what the run would read by its contents (`experiments.record.same_data`). Imports no torch; takes as
    long as to look at every file, and where they were never read before, to read them.

    Raises UserError when data are missing or cannot be read.
    """
    return info(config.task).identity(config)
