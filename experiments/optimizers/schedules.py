"""The learning rate as a pure function of the position in the run; no torch, no scheduler object, no state.

A schedule function knows only `(schedule, lr, position)`. Positions, `epochs`, `warmup_epochs` and `milestones` count
in one unit: epochs from 0 for the released timm runs, where the rate changes per epoch. A task whose rate changes
per update calls the same functions with updates throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from experiments.schema.config import ScheduleConfig
from experiments.schema.errors import UserError, suggestion


def constant(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """`lr` throughout."""
    return lr


def cosine(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """timm 0.6's cosine with warm-up (timm/scheduler/cosine_lr.py, `warmup_prefix=False`, one cycle).

    Warm-up is not a prefix: the rate rises from `warmup_lr` towards `lr`, then jumps onto the cosine at the position
    already reached, below the peak. From `epochs` on, through the cool-down, it is `min_lr`.
    """
    if position < schedule.warmup_epochs:
        return schedule.warmup_lr + position * (lr - schedule.warmup_lr) / schedule.warmup_epochs
    if position >= schedule.epochs:
        return schedule.min_lr
    return schedule.min_lr + 0.5 * (lr - schedule.min_lr) * (1 + math.cos(math.pi * position / schedule.epochs))


def step(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """`lr`, times `decay` for every milestone reached."""
    return lr * schedule.decay ** sum(milestone <= position for milestone in schedule.milestones)


SCHEDULES: dict[str, Callable[[ScheduleConfig, float, float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
}


def rate(schedule: ScheduleConfig, lr: float, epoch: float) -> float:
    """The rate used in `epoch`, counted from 0, of a run with peak `lr`. UserError for an unknown schedule."""
    if schedule.name not in SCHEDULES:
        nearest = suggestion(schedule.name, SCHEDULES)
        raise UserError(f"schedule.name={schedule.name}: unknown schedule{nearest}")
    return SCHEDULES[schedule.name](schedule, lr, epoch)


def rates(schedule: ScheduleConfig, lr: float) -> list[float]:
    """The rate of every epoch that runs, cool-down included."""
    return [rate(schedule, lr, epoch) for epoch in range(schedule.epochs + schedule.cooldown_epochs)]
