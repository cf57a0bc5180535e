"""`Step`, whose forward and backward pass and whose optimizer step are recorded once and replayed: see `replays`.

The random streams are those of `Step`: torch's generator gets a new seed between two replays, never within one. Each
update has one replay for each micro-batch, and one for clipping and the optimizer's step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from experiments.schema.errors import UserError
from experiments.training.replays import Replays
from experiments.training.step import Step, Unread, as_scalar


class CapturedStep:
    """Performs updates as `step` would, bit for bit where the kernels that run are deterministic.

    The gradient, and sums over the update's micro-batches, stay in the same memory from one update to the next.
    """

    def __init__(self, step: Step, replays: Replays) -> None:
        """`step` is of one rank and of one run; its optimizer reads rates from tensors (`optimizers.on_device`)."""
        self.step, self._replays = step, replays
        self._parameters = [parameter for parameter in step.module.parameters() if parameter.requires_grad]
        self._gradients: list[Tensor | None] = []  # of each parameter; empty before the first update
        self._sums: dict[str, Tensor] = {}  # float64: of the loss, and of its parts by name
        self._counted: Tensor | None = None  # terms, float64, where the forward pass counts them

    def __call__(self, update: int, leave: Callable[[], bool], checked: bool = True) -> Unread:
        """See `Step`; an update whose loss is `checked` before parameters change is one of `step`."""
        step, task = self.step, self.step.task
        if checked:
            return step(update, leave, checked)
        if not step.call.training:
            step.call.train()
        count = task.count(update)
        for position, batch in enumerate(task.micro_batches(update)):
            step.draw_from(update, position)
            first = position == 0
            accumulate = partial(self._accumulate, first)
            carry = self._replays(("gradient", first), accumulate, batch, count, changes=self._changed_by_passes())
            if carry:
                task.carry_on(position, tuple(one.clone() for one in carry))  # type: ignore[attr-defined]
        apply = partial(self._apply, update)
        if step.scaler.decides_on_device(step.optimizer):
            self._replays(("step", step.norms.is_due(update)), apply, changes=self._changed_by_steps())
        else:  # a first step under a scaler
            apply()
        terms = count if self._counted is None else self._counted.clamp(min=1)  # a copy: the next update counts there
        leaving = torch.full((1,), float(leave()), dtype=torch.float64, device=step.part.device)
        means = torch.cat([*(total / terms for total in self._sums.values()), leaving])
        sizes = {name: len(total) for name, total in self._sums.items()}
        return Unread(step.player, means, sizes, terms, count)

    def _accumulate(self, first: bool, batch: Any, count: float) -> tuple[Tensor, ...]:
        """Add a micro-batch to the gradient and the sums, which the `first` one begins; return its carry."""
        for parameter in self._parameters:
            parameter.grad = None
        loss = self.step.backward(batch, count)
        sums = {name: total.detach().double().reshape(-1) for name, total in {"": loss.sum, **loss.parts}.items()}
        counted = None if loss.count is None else as_scalar(loss.count, self.step.part.device)
        gradients = [parameter.grad for parameter in self._parameters]
        if not self._gradients:
            self._gradients = [None if one is None else torch.empty_like(one) for one in gradients]
            self._sums = {name: torch.empty_like(total) for name, total in sums.items()}
            self._counted = None if counted is None else torch.empty_like(counted)
        added = [*gradients, *sums.values(), counted]
        kept = [*self._gradients, *self._sums.values(), self._counted]
        if [one is None for one in added] != [one is None for one in kept]:
            raise UserError(
                f"{self.step.task.__class__.__name__}: some parameters have a gradient in some updates and none in "
                "others, which cannot be captured; give capture=false"
            )
        pairs = [(to, one) for to, one in zip(kept, added, strict=True) if to is not None and one is not None]
        with torch.no_grad():
            _into(pairs, replace=first)
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return loss.carry

    def _apply(self, update: int) -> None:
        step = self.step
        if self._counted is not None:
            step.divide_by(self._counted.clone())
        with step.norms.of_step(update, step.scaler):
            step.apply()

    def _changed_by_passes(self) -> Iterator[Tensor]:
        kept = (one for one in [*self._gradients, self._counted] if one is not None)
        return chain(kept, self._sums.values(), self.step.module.buffers())

    def _changed_by_steps(self) -> Iterator[Tensor]:
        state, scaler = self.step.optimizer.state, self.step.scaler
        states = (value for each in state.values() for value in each.values() if isinstance(value, Tensor))
        # Made at its first use, and under no public names.
        scale = [getattr(scaler, name) for name in ("_scale", "_growth_tracker")] if scaler.is_enabled() else []
        gradients = (gradient for gradient in self._gradients if gradient is not None)  # unscaled and clipped in place
        return chain(self._parameters, states, gradients, self.step.norms.tensors(), scale)


def _into(pairs: list[tuple[Tensor, Tensor]], replace: bool) -> None:
    """Put into each tensor the other of its pair, or add it."""
    kinds = {(to.dtype, one.dtype) for to, one in pairs}
    for kind in kinds:  # a list operation wants one type
        kept = [to for to, one in pairs if (to.dtype, one.dtype) == kind]
        added = [one for to, one in pairs if (to.dtype, one.dtype) == kind]
        (torch._foreach_copy_ if replace else torch._foreach_add_)(kept, added)
