"""Fromage (Bernstein et al., arXiv 2002.03432): every layer moves by a share of its own norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT


class Fromage(Optimizer):
    """theta = (theta - lr |theta| / |g| g) / sqrt(1 + lr^2) for each tensor; where theta or g is zero, g takes the
    place of the scaled gradient. The norms are Frobenius's.

    Weight decay, which the paper does not have, is added to the gradient. No state. With the rate in a tensor on the
    device a step can be captured in a CUDA graph.
    """

    def __init__(self, params: ParamsT, lr: float | Tensor = 0.01, weight_decay: float = 0.0) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {value}")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @property
    def implementation(self) -> str:
        """The only form there is."""
        return "single-tensor"

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return what `closure`, if any, returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr = group["lr"]
            shrink = (1 + lr.double() ** 2).sqrt() if isinstance(lr, Tensor) else math.sqrt(1 + lr**2)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                grad = parameter.grad
                if group["weight_decay"] != 0:
                    grad = grad.add(parameter, alpha=group["weight_decay"])
                ratio = parameter.norm() / grad.norm()
                # Asked on the device: the host never waits.
                scale = torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0)
                parameter.sub_(grad * (lr * scale)).div_(shrink)
        return loss
