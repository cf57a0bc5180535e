"""Evaluating what a run has learnt: the average of its parameters where it keeps one, under its precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from experiments.schema.config import RunConfig
from experiments.training import parallel
from experiments.training.precision import autocast
from experiments.training.task import Part, Task

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


def evaluate(
    config: RunConfig, task: Task, optimizers: Sequence[Optimizer], ema: ModelEmaV3 | None, part: Part
) -> dict[str, Any]:
    """The metrics of the task, of which an optimizer that goes by them is told. Every rank calls this."""
    parallel.share_batch_norm(task.module, part.world_size, config.distribute_batch_norm)
    module = task.module
    if ema is not None:
        module = ema.module
        parallel.share_batch_norm(module, part.world_size, config.distribute_batch_norm)
    with torch.no_grad(), autocast(config.precision, part.device), ExitStack() as seen:
        for optimizer in optimizers:
            if hasattr(optimizer, "evaluation_parameters"):  # averages, perhaps
                seen.enter_context(optimizer.evaluation_parameters())
        metrics = task.evaluate(module)
    for optimizer in optimizers:
        if hasattr(optimizer, "after_evaluation"):
            optimizer.after_evaluation(metrics)
    return metrics
