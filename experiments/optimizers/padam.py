"""Padam (Chen et al., arXiv 1806.06763): Adam with the AMSGrad maximum, raised to a power below one half."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from experiments.optimizers.step_counts import count_steps, for_each


class Padam(Optimizer):
    """m and n as in Adam, n_max the running maximum of n, theta -= lr m / (sqrt(n_max) + eps)^(2 partial).

    `partial` is the paper's p in (0, 1/2]: 1/2 is AMSGrad without bias correction. `eps` and, if asked for,
    `bias_correction` (the step times sqrt(1 - beta2^t) / (1 - beta1^t)) are those of the authors' code
    (github.com/uclaml/Padam). Weight decay is added to the gradient. Three floats of state per parameter.
    `capturable` keeps counts of steps on the device: then, with the rate in a tensor there, a step can be captured in a
    CUDA graph.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        partial: float = 0.125,
        bias_correction: bool = False,
        capturable: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {value}")
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas must be two numbers in [0, 1), not {betas}")
        if not 0.0 < partial <= 0.5:
            raise ValueError(f"partial must lie in (0, 0.5], not {partial}")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "partial": partial,
            "bias_correction": bias_correction,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("capturable", False)

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
            beta1, beta2 = group["betas"]
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self.state[parameter] for parameter in parameters]
            for state, parameter in zip(states, parameters, strict=True):
                if not state:
                    for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
                        state[name] = torch.zeros_like(parameter)
            counts = count_steps(states, parameters, group["capturable"]) if parameters else []
            corrections = for_each(partial(_correction, betas=group["betas"]), counts)
            for parameter, state, (correction,) in zip(parameters, states, corrections, strict=True):
                grad = parameter.grad
                if group["weight_decay"] != 0:
                    grad = grad.add(parameter, alpha=group["weight_decay"])
                exp_avg = state["exp_avg"].lerp_(grad, 1 - beta1)
                exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                maximum = torch.maximum(state["max_exp_avg_sq"], exp_avg_sq, out=state["max_exp_avg_sq"])
                denominator = maximum.sqrt().add_(group["eps"]).pow_(2 * group["partial"])
                step_size = group["lr"] * correction if group["bias_correction"] else group["lr"]
                if isinstance(step_size, Tensor):
                    parameter.sub_(exp_avg / denominator * step_size)
                else:
                    parameter.addcdiv_(exp_avg, denominator, value=-step_size)
        return loss


def _correction(step: Any, betas: tuple[float, float]) -> tuple[Any]:
    """What corrects the biases of both moments at `step`, counted from 1."""
    beta1, beta2 = betas
    square = 1 - beta2**step
    return ((square.sqrt() if isinstance(square, Tensor) else math.sqrt(square)) / (1 - beta1**step),)
