"""The learning rate, and the momentum where it moves, as pure functions of the position in the run; no torch, no
scheduler object, no state.

A schedule function knows only `(schedule, lr, position)`; the position counts epochs from 0. In the released timm runs
it moves once an epoch; where `schedule.per_update`, with every update. Of a run that counts updates, it counts updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from experiments.schema.bptt import rate_factor
from experiments.schema.config import RunConfig, ScheduleConfig
from experiments.schema.epochs import Epochs
from experiments.schema.errors import UserError, suggestion


def constant(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """`lr` throughout."""
    return lr


def cosine(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """timm 0.6's cosine with warm-up (timm/scheduler/cosine_lr.py, one cycle).

    Warm-up is not a prefix: the rate rises from `warmup_lr` towards `lr`, then jumps onto the cosine at the position
    already reached, below the peak. With `warmup_prefix` the cosine begins there, at the peak, and spans the rest
    (facebookresearch/ConvNeXt, utils.py). From `epochs` on, through the cool-down, the rate is `min_lr`.
    """
    length, warmup = schedule.length, schedule.warmup
    if position < warmup:
        return schedule.warmup_lr + position * (lr - schedule.warmup_lr) / warmup
    if position >= length:
        return schedule.min_lr
    start = warmup if schedule.warmup_prefix else 0
    part = (position - start) / (length - start)
    return schedule.min_lr + 0.5 * (lr - schedule.min_lr) * (1 + math.cos(math.pi * part))


def cosine_from_warmup(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """Transformer-XL's: linear warm-up from 0, then the cosine of the whole budget, scaled to go on where that stands.

    kimiyoung/transformer-xl@44781ed:pytorch/train.py drives torch 1.1's `CosineAnnealingLR`, which multiplies the rate
    it finds by the ratio of two cosines. It sets a rate after each update, so the very first still has the peak.
    """
    if position == 0:
        return lr
    if position < schedule.warmup:
        return lr * position / schedule.warmup
    found = max(schedule.warmup - 1, 0)
    rate_found = lr * found / schedule.warmup if found else lr
    ratio = _fallen(position, schedule.length) / _fallen(found, schedule.length)
    return schedule.min_lr + (rate_found - schedule.min_lr) * ratio


def linear(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """From `lr` to `min_lr` at the end of the budget, in a straight line; warm-up as in `cosine`."""
    length, warmup = schedule.length, schedule.warmup
    if position < warmup:
        return schedule.warmup_lr + position * (lr - schedule.warmup_lr) / warmup
    start = warmup if schedule.warmup_prefix else 0
    return lr + (schedule.min_lr - lr) * min((position - start) / (length - start), 1.0)


def step(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """`lr`, times `decay` for every milestone reached."""
    return lr * schedule.decay ** sum(milestone <= position for milestone in schedule.milestones)


def phases(schedule: ScheduleConfig, lr: float, position: float) -> float:
    """`lr` times what lies on the straight lines between `phase_rates`; after the last phase that of its end.

    fast.ai's phases (old/fastai/sgdr.py at 0.7) but for the place of a phase's first update, which there is its start
    and here the part of an update after it.
    """
    start = 0.0
    for share, first, last in zip(schedule.phases, schedule.phase_rates, schedule.phase_rates[1:], strict=False):
        done = (position / schedule.length - start) / share
        if done < 1:
            return lr * (first + done * (last - first))
        start += share
    return lr * schedule.phase_rates[-1]


SCHEDULES: dict[str, Callable[[ScheduleConfig, float, float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine_from_warmup": cosine_from_warmup,
    "linear": linear,
    "phases": phases,
    "step": step,
}


def _fallen(position: float, length: int) -> float:
    return 1 + math.cos(math.pi * min(position / length, 1.0))


def rate(schedule: ScheduleConfig, lr: float, epoch: int, progress: float = 0.0) -> float:
    """The rate of an update in `epoch`, counted from 0, of a run with peak `lr` (where it counts updates, of the update
    after so many).

    `progress`, in [0, 1), is the part of the epoch done before that update; it counts where `schedule.per_update`.
    Raises UserError for an unknown schedule.
    """
    if schedule.name not in SCHEDULES:
        nearest = suggestion(schedule.name, SCHEDULES)
        raise UserError(f"schedule.name={schedule.name}: unknown schedule{nearest}")
    return SCHEDULES[schedule.name](schedule, lr, epoch + progress if schedule.per_update else epoch)


def rate_of_update(config: RunConfig, epochs: Epochs, update: int) -> float:
    """The rate that `update`, counted from 1, uses: the schedule's, times that of its piece of a text."""
    scheduled = rate(config.schedule, config.optim["lr"], *_position(config, epochs, update))
    if config.schedule.updates is not None:
        return scheduled
    return scheduled * rate_factor(config, *epochs.of(update))


def momentum(schedule: ScheduleConfig, lr: float, epoch: int, progress: float = 0.0) -> float | None:
    """The momentum that goes with `rate` of the same arguments: `base_momentum` at the peak `lr`, `max_momentum` where
    the rate stands lowest (at `warmup_lr` in the warm-up, at `min_lr` after it; of phases, no higher than at the
    start), in between in a straight line: 1cycle (Smith, arXiv 1803.09820), as torch's OneCycleLR moves it. None where
    the schedule leaves momentum alone."""
    if schedule.base_momentum is None or schedule.max_momentum is None:
        return None
    lowest = schedule.warmup_lr if epoch + progress < schedule.warmup else schedule.min_lr
    if schedule.name == "phases":
        lowest = lr * schedule.phase_rates[0]
    part = 1.0 if lr == lowest else max(0.0, (rate(schedule, lr, epoch, progress) - lowest) / (lr - lowest))
    return schedule.max_momentum + (schedule.base_momentum - schedule.max_momentum) * part


def momentum_of_update(config: RunConfig, epochs: Epochs, update: int) -> float | None:
    """The momentum that `update`, counted from 1, uses; None where it is the optimizer's own throughout, or the
    optimizer has none."""
    if not {"momentum", "betas"} & config.optim.keys():
        return None
    return momentum(config.schedule, config.optim["lr"], *_position(config, epochs, update))


def _position(config: RunConfig, epochs: Epochs, update: int) -> tuple[int, float]:
    """Epochs done before `update`, and the part of its own; of a run that counts updates, those done."""
    if config.schedule.updates is not None:
        return update - 1, 0.0
    epoch, done = epochs.of(update)
    return epoch, done / epochs.updates[epoch]


def rates(schedule: ScheduleConfig, lr: float) -> list[float]:
    """The rate of every epoch that runs, cool-down included: of its first update where the rate moves within it; or of
    every update, of a run that counts them."""
    return [rate(schedule, lr, epoch) for epoch in range(schedule.length + schedule.cooldown_epochs)]
