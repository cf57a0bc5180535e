"""M-SVAG (Balles and Hennig, arXiv 1705.07774): momentum, each number's step damped by the variance of its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from experiments.optimizers.step_counts import count_steps, for_each


class MSVAG(Optimizer):
    """theta -= lr gamma m with gamma = m^2 / (m^2 + rho s), where s = (v - m^2) / (1 - rho) estimates the variance of a
    gradient, rho s that of m, and m and v are bias-corrected averages with decay `beta` of gradients and squares.

    `second_beta` corrects v by 1 - second_beta^t in place of 1 - beta^t. That is what the M-SVAG of AdaBelief's
    comparisons does, with 0.999: at step 100 its v is ten times too large, at step 1,000 one and a half times. Nor does
    that code bound gamma, and its first step, where s is infinite, is 0, where the paper's is that of momentum.

    Weight decay is added to the gradient. Two floats of state per parameter. `capturable` keeps counts of steps on the
    device: then, with the rate in a tensor there, a step can be captured in a CUDA graph.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.1,
        beta: float = 0.9,
        weight_decay: float = 0.0,
        second_beta: float | None = None,
        capturable: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, not {value}")
        for name, value in (("beta", beta), ("second_beta", beta if second_beta is None else second_beta)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name} must lie in (0, 1), not {value}")
        defaults = {"lr": lr, "beta": beta, "weight_decay": weight_decay, "second_beta": second_beta}
        super().__init__(params, {**defaults, "capturable": capturable})

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
            beta = group["beta"]
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self.state[parameter] for parameter in parameters]
            for state, parameter in zip(states, parameters, strict=True):
                if not state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            corrections = partial(_corrections, beta=beta, second_beta=group["second_beta"])
            counts = count_steps(states, parameters, group["capturable"]) if parameters else []
            for parameter, state, corrected in zip(parameters, states, for_each(corrections, counts), strict=True):
                grad = parameter.grad
                if group["weight_decay"] != 0:
                    grad = grad.add(parameter, alpha=group["weight_decay"])
                exp_avg = state["exp_avg"].lerp_(grad, 1 - beta)
                exp_avg_sq = state["exp_avg_sq"].mul_(beta).addcmul_(grad, grad, value=1 - beta)
                damped = _damped(exp_avg, exp_avg_sq, *corrected, bounded=group["second_beta"] is None)
                parameter.sub_(damped.mul_(group["lr"]))
        return loss


def _corrections(step: Any, beta: float, second_beta: float | None) -> tuple[Any, Any, Any, Any]:
    """At `step`, counted from 1: 1 - beta^t for m, the same for v, rho / (1 - rho), and whether it is the first."""
    first, second = 1 - beta**step, 1 - (second_beta or beta) ** step
    rho = (1 - beta) * (1 + beta**step) / ((1 + beta) * first)
    rest = 1 - rho
    return first, second, rho / rest if isinstance(step, Tensor) or rest else math.inf, step == 1


def _damped(
    exp_avg: Tensor, exp_avg_sq: Tensor, first: Any, second: Any, damping: Any, is_first: Any, *, bounded: bool
) -> Tensor:
    """gamma m; the others as `_corrections` gives them, numbers or scalars on the device."""
    mean = exp_avg / first
    at_first = mean if bounded else torch.zeros_like(mean)  # rho is 1: nothing is known of the variance
    if is_first is True:
        return at_first
    square = mean.square()
    variance = exp_avg_sq / second - square
    if bounded:
        variance.clamp_(min=0)  # below 0 by rounding only
    gamma = square / (square + variance * damping)
    damped = mean * gamma.nan_to_num_(nan=0.0)  # 0 / 0 where all gradients were 0
    return torch.where(is_first, at_first, damped) if isinstance(is_first, Tensor) else damped
