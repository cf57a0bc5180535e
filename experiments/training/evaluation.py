"""Evaluating what a run has learnt: the average of its parameters where it keeps one, under its precision."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from experiments.schema.config import RunConfig
from experiments.training import parallel
from experiments.training.precision import autocast
from experiments.training.task import Part, Task

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


def evaluate(config: RunConfig, task: Task, optimizer: Optimizer, ema: ModelEmaV3 | None, part: Part) -> dict[str, Any]:
    """The metrics of the task, of which an optimizer that goes by them is told. Every rank calls this."""
    parallel.share_batch_norm(task.module, part.world_size, config.distribute_batch_norm)
    module = task.module
    if ema is not None:
        module = ema.module
        parallel.share_batch_norm(module, part.world_size, config.distribute_batch_norm)
    seen = getattr(optimizer, "evaluation_parameters", nullcontext)()  # averages, perhaps
    with torch.no_grad(), autocast(config.precision, part.device), seen:
        metrics = task.evaluate(module)
    if hasattr(optimizer, "after_evaluation"):
        optimizer.after_evaluation(metrics)
    return metrics
