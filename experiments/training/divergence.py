"""Runs that a non-finite loss ends: a run alone ends its process, one of a batch leaves the others to go on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments.schema.players import ONLY


class NonFiniteLoss(Exception):
    """The loss of an update is NaN or infinite, and no run is left; the message says which update, rate and group."""


class Divergence:
    """Which runs of a batch have diverged, with what was found; `reasons` is ordered by when.

    The rows that a diverged run has in the stacked parameters are held at zero. So what goes on being computed of it
    stays finite, and the other runs are, bit for bit, what they would have been.
    """

    def __init__(self, module: nn.Module, optimizers: Mapping[str, Optimizer], runs: int) -> None:
        """`optimizers` are those of the players."""
        self._module, self._optimizers, self._runs = module, optimizers, runs
        self.reasons: dict[int, str] = {}

    def check_losses(self, update: int, losses: Sequence[float], player: str = ONLY) -> None:
        """End the runs whose loss at `update`, the turn of `player`, is not finite. Raises NonFiniteLoss when none is
        left."""
        if all(map(math.isfinite, losses)):
            return
        for run, loss in enumerate(losses):
            if not math.isfinite(loss):
                whose = f" of run {run + 1} of the batch" if self._runs > 1 else ""
                whose += f" of {player}" if player else ""
                rates = ", ".join(f"{rate:g}" for rate in self._rates(run, player))
                self._end(run, f"loss{whose} is {loss} at update {update}, learning rate {rates}; ")

    def check_parameters(self, update: int) -> None:
        """End the runs whose parameters after `update` are not finite. Raises NonFiniteLoss when none is left."""
        if all(bool(parameter.isfinite().all()) for parameter in self._module.parameters()):
            return
        for run in range(self._runs):
            if not all(bool(self._own(parameter, run).isfinite().all()) for parameter in self._module.parameters()):
                self._end(run, f"parameters after update {update}: ")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around an optimizer's step: runs that have diverged take no part in it."""
        self._hold_at_zero()
        yield
        self._hold_at_zero()

    def left(self, values: Sequence[Any]) -> list[Any]:
        """Keep, of one value for each run, those of the runs that go on."""
        return [value for run, value in enumerate(values) if run not in self.reasons]

    def _end(self, run: int, what: str) -> None:
        if run in self.reasons:
            return
        self.reasons[run] = f"{what}{first_non_finite(self._optimizers)}"
        if len(self.reasons) == self._runs:
            raise NonFiniteLoss(self.reasons[run])
        self._hold_at_zero()

    @torch.no_grad()
    def _hold_at_zero(self) -> None:
        for parameter in self._module.parameters() if self.reasons else ():
            for run in self.reasons:
                self._own(parameter, run).zero_()
                if parameter.grad is not None:
                    self._own(parameter.grad, run).zero_()

    def _rates(self, run: int, player: str) -> list[float]:
        """The learning rates that parameter groups of a run have."""
        groups = [group for group in self._optimizers[player].param_groups if group.get("first_run", 0) <= run]
        block = groups[-1].get("first_run", 0)
        return sorted({float(group["lr"]) for group in groups if group.get("first_run", 0) == block})

    def _own(self, parameter: Tensor, run: int) -> Tensor:
        """Return a run's part of a parameter: stacked ones are [S, ...]."""
        return parameter[run] if self._runs > 1 else parameter


def first_non_finite(optimizers: Mapping[str, Optimizer]) -> str:
    """Say which parameter group, and where known which parameter, holds the first non-finite value or gradient."""
    groups = [
        (f" of {player}" if player else "", index, group)
        for player, optimizer in optimizers.items()
        for index, group in enumerate(optimizer.param_groups)
    ]
    for what in ("parameters", "gradients"):
        for whose, index, group in groups:
            for position, parameter in enumerate(group["params"]):
                values: Tensor | None = parameter.detach() if what == "parameters" else parameter.grad
                if values is not None and not values.isfinite().all():
                    names = group.get("names") or group.get("param_names") or []
                    name = f" ({names[position]})" if position < len(names) else ""
                    return f"first non-finite {what}{whose} in parameter group {index}{name}"
    if len(optimizers) > 1:
        return f"every value and gradient of {' and '.join(optimizers)} is finite"
    return f"every value and gradient of parameter groups 0 to {len(groups) - 1} is finite"
