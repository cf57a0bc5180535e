"""Sharpness-aware minimisation (Foret et al., arXiv 2010.01412) around any optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


class SAM(Optimizer):
    """Steps `base` with the gradient taken at theta + e, where e = rho g / |g| (the norm over all parameters).

    `adaptive` scales by the weights' size (ASAM, arXiv 2102.11600): e = rho theta^2 g / |theta g|. Groups and
    states are those of `base`, so that learning rates, checkpoints and inspection work on this object directly;
    `sam_rho` and `sam_adaptive` stand in the groups (AdaDelta has a `rho` of its own there).

    Each step needs a second pass over the same batch. Either `step(closure)`, with the gradients of the batch in
    `.grad` and a `closure()` that runs forward and backward again; or, where something stands in between (a
    gradient scaler, clipping), `perturb()`, the second pass, `restore()`, `step()`. Scaled gradients do no harm to
    `perturb`: the direction is normalised.
    """

    def __init__(self, base: Optimizer, rho: float = 0.05, adaptive: bool = False) -> None:
        if not 0.0 <= rho < float("inf"):
            raise ValueError(f"rho must be at least 0 and finite, not {rho}")
        super().__init__(base.param_groups, {"sam_rho": rho, "sam_adaptive": adaptive})
        self.base = base
        self._adopt()

    def _adopt(self) -> None:
        self.param_groups = self.base.param_groups
        self.state = self.base.state
        for group in self.param_groups:  # those of a checkpoint may be of another base, or older than these keys
            for key, value in self.defaults.items():
                group.setdefault(key, value)
        self._originals: list[tuple[Tensor, Tensor]] = []
        self._saw_second_pass = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "base": self.base}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._adopt()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step the base; with a `closure`, at the gradients that it computes at the perturbed weights.

        Gradients are cleared before `closure` is called, and the weights are restored also when it raises.
        Returns what it returned. Raises TypeError without `closure` unless `perturb` and `restore` came before.
        """
        loss = None
        if closure is not None:
            self.perturb()
            self.zero_grad()
            try:
                loss = closure()
            finally:
                self.restore()
        if not self._saw_second_pass:
            raise TypeError("SAM.step needs a closure for the second pass, or perturb() and restore() around it")
        self.base.step()
        self._saw_second_pass = False
        return loss

    @torch.no_grad()
    def perturb(self) -> None:
        """Move every parameter that has a gradient by its e, remembering what it was."""
        members = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not members:
            return
        norm = get_total_norm([p * p.grad if group["sam_adaptive"] else p.grad for p, group in members])
        for parameter, group in members:
            self._originals.append((parameter, parameter.clone()))
            direction = parameter.square() * parameter.grad if group["sam_adaptive"] else parameter.grad
            scale = group["sam_rho"] / (norm + 1e-12)
            parameter.add_(direction * scale.to(parameter.device, parameter.dtype))

    @torch.no_grad()
    def restore(self) -> None:
        """Bring every perturbed parameter back, bit by bit."""
        for parameter, original in self._originals:
            parameter.copy_(original)
        self._originals.clear()
        self._saw_second_pass = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.base.load_state_dict(state_dict)
        self._adopt()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if hasattr(self, "base"):
            self.base.add_param_group({**self.defaults, **param_group})
        else:
            super().add_param_group(param_group)


@contextmanager
def without_batch_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norm normalise by the batch but leave its running statistics alone: SAM's second pass, whose
    weights nobody keeps (as the authors of the PyTorch code that the Adan repository copies advise)."""
    tracking: list[Any] = [m for m in module.modules() if getattr(m, "track_running_stats", False)]
    for layer in tracking:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True
