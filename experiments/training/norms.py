"""Norms that tell how an optimizer fares: of the gradient, and of an update beside the parameters that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from experiments.training.task import EachRun

GRADIENT, RATIO = "gradient_norm", "update_ratio"
EVERY = 10  # updates; in every one they would cost mini ViT-S several percent of its time


class Norms:
    """Gather mean and maximum of two numbers over the updates 1, 11, 21, ... since `take`, for each run of a batch.

    `gradient_norm` is the 2-norm of the gradient of all parameters, before clipping. `update_ratio` is
    |after - before| / |before| of a step, with 2-norms over all parameters. What is not finite, such as a gradient that
    overflowed in fp16, is left out. Sums stay on the device: nothing but `take` and `state` waits for a GPU.
    """

    def __init__(self, module: nn.Module, runs: int, device: torch.device) -> None:
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._runs, self._device = runs, device
        self._gathered = {
            name: torch.zeros((3, runs), dtype=torch.float64, device=device) for name in (GRADIENT, RATIO)
        }

    def is_due(self, update: int) -> bool:
        """Whether `of_step` takes note of an update."""
        return update % EVERY == 1

    @contextmanager
    def of_step(self, update: int, scaler: torch.amp.GradScaler) -> Iterator[None]:
        """Around clipping and the optimizer's step: take note of both where `update` is due. The gradient is there, as
        `scaler` scaled it."""
        if not self.is_due(update):
            yield
            return
        with torch.no_grad():
            gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            scale = scaler.scale(torch.ones((), device=self._device))  # `get_scale` would wait for a GPU
            self._add(GRADIENT, self._norm(gradients) / scale)
            before = [parameter.clone() for parameter in self._parameters]
        yield
        with torch.no_grad():
            size = self._norm(before)
            for old, parameter in zip(before, self._parameters, strict=True):
                old.sub_(parameter)
            self._add(RATIO, self._norm(before) / size)

    def take(self) -> dict[str, EachRun]:
        """Mean and maximum of each, None where there is none, and begin anew."""
        found: dict[str, EachRun] = {}
        for name, (sums, largest, counts) in self.state().items():
            seen = list(zip(sums, largest, counts, strict=True))
            found[f"{name}_mean"] = EachRun(total / count if count else None for total, _, count in seen)
            found[f"{name}_max"] = EachRun(most if count else None for _, most, count in seen)
        self._reset()
        return found

    def state(self) -> dict[str, list[list[float]]]:
        """Sums, maxima and counts of each."""
        return {name: gathered.tolist() for name, gathered in self._gathered.items()}

    def load(self, state: dict[str, list[list[float]]]) -> None:
        """Inverse of `state`."""
        self._reset()
        for name, gathered in state.items():
            self._gathered[name].copy_(torch.tensor(gathered, dtype=torch.float64))

    def tensors(self) -> Iterable[Tensor]:
        """What `of_step` adds to: sums, maxima and counts of each [3, runs], always in the same memory."""
        return self._gathered.values()

    def _reset(self) -> None:
        for gathered in self._gathered.values():
            gathered.zero_()

    def _add(self, name: str, values: Tensor) -> None:
        sums, largest, counts = self._gathered[name]
        finite = values.isfinite()
        values = torch.where(finite, values.double(), 0.0)
        sums.add_(values)
        torch.maximum(largest, values, out=largest)
        counts.add_(finite)

    def _norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """2-norm over all tensors [runs]; those of several runs are stacked, [runs, ...]."""
        if self._runs == 1:
            return get_total_norm(tensors).reshape(1)
        norms: Any = [torch.linalg.vector_norm(tensor.flatten(1), dim=1) for tensor in tensors]
        return torch.linalg.vector_norm(torch.stack(norms), dim=0)
