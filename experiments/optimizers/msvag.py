"""M-SVAG (Balles and Hennig, arXiv 1705.07774): momentum, each number's step damped by the variance of its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT


class MSVAG(Optimizer):
    """theta -= lr gamma m with gamma = m^2 / (m^2 + rho s), where s = (v - m^2) / (1 - rho) estimates the variance of a
    gradient, rho s that of m, and m and v are bias-corrected averages with decay `beta` of gradients and squares.

    `second_beta` corrects v by 1 - second_beta^t in place of 1 - beta^t. That is what the M-SVAG of AdaBelief's
    comparisons does, with 0.999: at step 100 its v is ten times too large, at step 1,000 one and a half times. Nor does
    that code bound gamma, and its first step, where s is infinite, is 0, where the paper's is that of momentum.

    Weight decay is added to the gradient. Two floats of state per parameter.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        beta: float = 0.9,
        weight_decay: float = 0.0,
        second_beta: float | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {value}")
        for name, value in (("beta", beta), ("second_beta", beta if second_beta is None else second_beta)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name} must lie in (0, 1), not {value}")
        super().__init__(params, {"lr": lr, "beta": beta, "weight_decay": weight_decay, "second_beta": second_beta})

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
            beta = group["beta"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["step"] += 1
                grad = parameter.grad
                if group["weight_decay"] != 0:
                    grad = grad.add(parameter, alpha=group["weight_decay"])
                exp_avg = state["exp_avg"].lerp_(grad, 1 - beta)
                exp_avg_sq = state["exp_avg_sq"].mul_(beta).addcmul_(grad, grad, value=1 - beta)
                damped = _damped(exp_avg, exp_avg_sq, state["step"], beta, group["second_beta"])
                parameter.sub_(damped.mul_(group["lr"]))
        return loss


def _damped(exp_avg: Tensor, exp_avg_sq: Tensor, step: int, beta: float, second_beta: float | None) -> Tensor:
    """gamma m at `step`, counted from 1."""
    mean = exp_avg / (1 - beta**step)
    if step == 1:  # rho is 1: nothing is known of the variance
        return mean if second_beta is None else torch.zeros_like(mean)
    square = mean.square()
    rho = (1 - beta) * (1 + beta**step) / ((1 + beta) * (1 - beta**step))
    variance = exp_avg_sq / (1 - (second_beta or beta) ** step) - square
    if second_beta is None:
        variance.clamp_(min=0)  # below 0 by rounding only
    gamma = square / (square + variance * (rho / (1 - rho)))
    return mean * gamma.nan_to_num_(nan=0.0)  # 0 / 0 where all gradients were 0
