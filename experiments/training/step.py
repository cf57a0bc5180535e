"""One update: sums of loss terms over micro-batches and ranks, one division, one optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments.data.streams import derive, reseed
from experiments.optimizers.sam import SAM, without_batch_statistics
from experiments.training import parallel
from experiments.training.divergence import Divergence
from experiments.training.norms import Norms
from experiments.training.precision import autocast
from experiments.training.scaling import ScalerOnDevice
from experiments.training.task import Loss, Part, Task


@dataclass
class Stepped:
    """What an update of `player` was: its mean loss, that of each seed, and of each of the loss's parts, over `count`
    terms of `samples` samples or tokens (`Task.count`); and whether any rank wants to leave after it."""

    player: str
    losses: list[float]
    parts: dict[str, list[float]]
    count: float
    samples: int
    leaving: bool


@dataclass
class Unread:
    """A `Stepped` whose numbers are still on the device: float64 `means`, those of the loss and of its parts one after
    another, how many of each name `sizes` tells (the loss's first, its name empty); then how many ranks want to leave.
    """

    player: str
    means: Tensor
    sizes: dict[str, int]
    count: Tensor | float
    samples: int


def read(updates: Sequence[Unread]) -> list[Stepped]:
    """What these updates were. Waits for the device, once for all of them."""
    counts = [update.count.reshape(1) for update in updates if isinstance(update.count, Tensor)]
    values = iter(torch.cat([*counts, *(update.means for update in updates)]).tolist())
    counted = [next(values) if isinstance(update.count, Tensor) else update.count for update in updates]
    stepped = []
    for update, count in zip(updates, counted, strict=True):
        means = {name: [next(values) for _ in range(size)] for name, size in update.sizes.items()}
        losses = means.pop("")
        stepped.append(Stepped(update.player, losses, means, count, update.samples, leaving=next(values) > 0))
    return stepped


@dataclass
class Step:
    """Everything that turns one update's micro-batches into new parameters.

    `module` is what it trains, the task's or that of a `player`, and `call` the same as forward passes use it (DDP,
    compiled); `others` are the parameters of other players. Gradients are those of `sum of terms / count of terms` over
    all micro-batches and ranks, whatever the split.
    """

    task: Task
    player: str
    module: nn.Module
    others: Sequence[nn.Parameter]
    call: nn.Module
    optimizer: Optimizer
    divergence: Divergence
    norms: Norms
    scaler: ScalerOnDevice
    part: Part
    seed: int
    precision: str
    clip_grad_norm: float | None

    def __call__(self, update: int, leave: Callable[[], bool], checked: bool = True) -> Unread:
        """Perform `update` (from 1); `leave()` says, when its gradients are there, whether this rank wants to leave.

        If `checked`, the loss is read before the parameters change: a run whose loss is not finite takes no further
        part, and where none is left, this raises NonFiniteLoss, on every rank. Otherwise nothing here waits for the
        device. A non-finite *gradient* under fp16 is the scaler's business: it skips the step, and the optimizer's
        state and counts stay as they were.
        """
        batches: Iterable[Any] = self.task.micro_batches(update)
        if isinstance(self.optimizer, SAM):
            batches = list(batches)  # seen twice
        shares, count = self._gradients(update, batches, passage=0)
        leaving = torch.full((1,), float(leave()), dtype=torch.float64, device=self.part.device)
        means = parallel.sum_on_device(torch.cat([*shares.values(), leaving]))
        sizes = {name: len(share) for name, share in shares.items()}
        done = Unread(self.player, means, sizes, count, self.task.count(update))
        if checked:
            self.divergence.check_losses(update, read([done])[0].losses, self.player)
        if isinstance(self.optimizer, SAM):
            self.optimizer.perturb()
            with without_batch_statistics(self.module):
                self._gradients(update, batches, passage=1)
            self.optimizer.restore()
        with self.divergence.held(), self.norms.of_step(update, self.scaler):
            self.apply()
        return done

    def backward(self, batch: Any, count: Tensor | float) -> Loss:
        """Add a micro-batch's gradient to `.grad`, divided by the update's `count` of terms where the task knows it."""
        with _without_gradients(self.others):
            with autocast(self.precision, self.part.device):
                loss = self.task.loss(self.call, batch)
            divisor = count if loss.count is None else 1
            # DDP averages over ranks: the factor turns that into the sum.
            self.scaler.scale(loss.sum.sum() * (self.part.world_size / divisor)).backward()
        return loss

    def apply(self) -> None:
        """Clip the gradient, and step."""
        if self.clip_grad_norm:
            self.scaler.unscale_(self.optimizer)
            self._clip(self.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def draw_from(self, update: int, position: int, passage: int = 0) -> None:
        """Let stochastic layers draw from (seed, update, place of the micro-batch, passage)."""
        place = position * self.part.world_size + self.part.rank
        reseed(derive(self.seed, "forward", update, place, passage), self.part.device)

    def divide_by(self, counted: Tensor) -> Tensor:
        """Divide the gradient by the terms that all ranks counted, by 1 where there were none; return that number."""
        total = parallel.sum_on_device(counted).clamp(min=1)
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(total)
        return total

    def _clip(self, max_norm: float) -> None:
        own = getattr(self.module, "clip_grad_norm_", None)
        if own is not None:
            own(max_norm)
        else:
            nn.utils.clip_grad_norm_(self.module.parameters(), max_norm)

    def _gradients(self, update: int, batches: Iterable[Any], passage: int) -> tuple[dict[str, Tensor], Tensor | float]:
        """Fill `.grad`; return this rank's shares of the means [seeds], the loss's first and then its parts', and the
        number of terms."""
        self.optimizer.zero_grad(set_to_none=True)
        if not self.call.training:  # walking over all modules costs more than asking one
            self.call.train()
        device = self.part.device
        count: Tensor | float = self.task.count(update)
        counted: Tensor | None = None
        sums = {"": torch.zeros(1, dtype=torch.float64, device=device)}  # of the loss, and of its parts by name
        for position, (batch, last) in enumerate(_with_last(batches)):
            self.draw_from(update, position, passage)
            waiting = nullcontext() if last else parallel.without_reduction(self.call)
            with waiting:
                loss = self.backward(batch, count)
            if loss.count is not None:
                counted = (0 if counted is None else counted) + as_scalar(loss.count, device)
            for name, value in {"": loss.sum, **loss.parts}.items():
                sums[name] = sums.get(name, 0) + value.detach().double()
            if loss.carry and passage == 0:
                self.task.carry_on(position, loss.carry)  # type: ignore[attr-defined]
        if counted is not None:
            count = self.divide_by(counted)
        return {name: (value / count).reshape(-1) for name, value in sums.items()}, count


@contextmanager
def _without_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def as_scalar(count: Tensor | float, device: torch.device) -> Tensor:
    """A number of terms, float64 on the device."""
    if isinstance(count, Tensor):
        return count.detach().to(device, torch.float64).reshape(())
    return torch.full((), count, dtype=torch.float64, device=device)  # unlike `as_tensor`, waits for no copy


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
