"""One update: sums of loss terms over micro-batches and ranks, one division, one optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from experiments.data.streams import derive, reseed
from experiments.optimizers.sam import SAM, without_batch_statistics
from experiments.training import parallel
from experiments.training.divergence import Divergence
from experiments.training.precision import autocast
from experiments.training.task import Part, Task


@dataclass
class Step:
    """Everything that turns one update's micro-batches into new parameters.

    `call` is `task.module` as forward passes use it (DDP, compiled). Gradients are those of
    `sum of terms / count of terms` over all micro-batches and ranks, whatever the split.
    """

    task: Task
    call: nn.Module
    optimizer: Optimizer
    divergence: Divergence
    scaler: torch.amp.GradScaler
    part: Part
    seed: int
    precision: str
    clip_grad_norm: float | None

    def __call__(self, update: int, leave: Callable[[], bool]) -> tuple[list[float], bool]:
        """Perform `update` (from 1). Return its mean loss, that of each seed, and whether any rank wants to leave after
        it, which `leave()` says when the update's gradients are there.

        A run whose loss is not finite takes no further part. Where none is left, raises NonFiniteLoss, on every rank
        and before the parameters change. A non-finite *gradient* under fp16 is the scaler's business: it skips the
        step, and the optimizer's state and counts stay as they were.
        """
        batches: Iterable[Any] = self.task.micro_batches(update)
        if isinstance(self.optimizer, SAM):
            batches = list(batches)  # seen twice
        shares = self._gradients(update, batches, passage=0)
        *losses, leaving = parallel.sum_over_ranks([*shares, float(leave())], self.part.device)
        self.divergence.check_losses(update, losses)
        if isinstance(self.optimizer, SAM):
            self.optimizer.perturb()
            with without_batch_statistics(self.task.module):
                self._gradients(update, batches, passage=1)
            self.optimizer.restore()
        with self.divergence.held():
            if self.clip_grad_norm:
                self.scaler.unscale_(self.optimizer)
                self._clip(self.clip_grad_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return losses, leaving > 0

    def _clip(self, max_norm: float) -> None:
        own = getattr(self.task.module, "clip_grad_norm_", None)
        if own is not None:
            own(max_norm)
        else:
            nn.utils.clip_grad_norm_(self.task.module.parameters(), max_norm)

    def _gradients(self, update: int, batches: Iterable[Any], passage: int) -> list[float]:
        """Fill `.grad`; return this rank's share of the mean loss, of each seed. Stochastic layers draw from
        (seed, update, place of the micro-batch in the update, passage)."""
        self.optimizer.zero_grad(set_to_none=True)
        if not self.call.training:  # walking over all modules costs more than asking one
            self.call.train()
        rank, world_size, device = self.part.rank, self.part.world_size, self.part.device
        count = self.task.count(update)
        total = torch.zeros(1, dtype=torch.float64, device=device)
        for position, (batch, last) in enumerate(_with_last(batches)):
            reseed(derive(self.seed, "forward", update, position * world_size + rank, passage), device)
            with nullcontext() if last else parallel.without_reduction(self.call):
                with autocast(self.precision, device):
                    terms = self.task.loss(self.call, batch).sum
                # DDP averages over ranks: the factor turns that into the sum.
                self.scaler.scale(terms.sum() * (world_size / count)).backward()
            total = total + terms.detach().double()
        return (total / count).tolist()


def _with_last(items: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Pair each item with whether it is the last."""
    iterator = iter(items)
    try:
        current = next(iterator)
    except StopIteration:
        return
    for following in iterator:
        yield current, False
        current = following
    yield current, True
