"""What training changes in a process, as a checkpoint holds it, and back, on whatever number of ranks there is."""

from __future__ import annotations

from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch.optim import Optimizer

from experiments import optimizers
from experiments.training import checkpoint, parallel
from experiments.training.task import Part, Task


def state_of(
    task: Task, optimizer: Optimizer, ema: ModelEmaV3 | None, scaler: torch.amp.GradScaler, part: Part
) -> dict[str, Any]:
    """The state of all of these, asked on every rank. What ranks hold apart is complete on rank 0 alone."""
    return {
        "rank_buffers": parallel.gather_buffers(task.module, part.world_size),
        "rank_ema_buffers": parallel.gather_buffers(ema.module, part.world_size) if ema is not None else None,
        "task": task.state(),
        "module": task.module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "optimizer_ran": optimizers.describe(optimizer),
        "ema": ema.module.state_dict() if ema is not None else None,
        "scaler": scaler.state_dict(),
        "random": checkpoint.random_streams(),
        "threads": torch.get_num_threads(),
    }


def load_state(
    state: dict[str, Any],
    task: Task,
    optimizer: Optimizer,
    ema: ModelEmaV3 | None,
    scaler: torch.amp.GradScaler,
    part: Part,
) -> None:
    """Inverse of `state_of`, on every rank, but for the number of threads."""
    parallel.restore(task.module, state["module"], state["rank_buffers"], part.rank, part.world_size)
    optimizer.load_state_dict(state["optimizer"])
    if ema is not None:
        parallel.restore(ema.module, state["ema"], state["rank_ema_buffers"], part.rank, part.world_size)
    scaler.load_state_dict(state["scaler"])
    task.load(state["task"])
    checkpoint.restore_random_streams(state["random"])
