"""SGD that switches to averaged SGD once an evaluation stops improving (NT-ASGD, Merity et al. 2017, section 3).

The rule is the one of AWD-LSTM's code, which AdaBelief's LSTM runs follow (main.py): switch when the metric is worse
than the best of all evaluations but the last `patience`. From then on the steps are torch's ASGD with lambd 0 and t0 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import SGD


class SGDThenASGD(SGD):
    """`torch.optim.SGD` until the switch, then also the mean of all parameters since then, one float a parameter.

    What torch's ASGD does beside averaging stays: a step uses the rate that the step before was given, and the mean
    leaves out the first. Evaluations see the mean where `evaluate_average`, as in the paper; AdaBelief's runs do not.
    """

    def __init__(self, params: Any, *, metric: str, patience: int, evaluate_average: bool, **settings: Any) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience}")
        super().__init__(params, **settings)
        self.metric, self.patience, self.evaluate_average = metric, patience, evaluate_average
        for group in self.param_groups:
            group["evaluations"] = []
            group["averaged_steps"] = None  # None: not switched
            group["rate_before"] = None

    @property
    def switched(self) -> bool:
        """Whether steps are averaged."""
        return self.param_groups[0]["averaged_steps"] is not None

    def after_evaluation(self, metrics: Mapping[str, Any]) -> None:
        """Take note of an evaluation, and switch when it is time. Raises ValueError where it lacks the metric."""
        if self.switched:
            return
        if self.metric not in metrics:
            raise ValueError(f"optim.asgd_metric={self.metric}: evaluations have {', '.join(sorted(metrics))}")
        value = float(metrics[self.metric])
        past = self.param_groups[0]["evaluations"]
        worse = len(past) > self.patience and (value > min(past[: -self.patience]) or math.isnan(value))
        for group in self.param_groups:
            group["evaluations"] = [*past, value]
            if worse:
                group["averaged_steps"] = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step all parameters that have a gradient; return what `closure`, if any, returned."""
        if not self.switched:
            return super().step(closure)
        given = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, given, strict=True):
            group["lr"] = rate if group["rate_before"] is None else group["rate_before"]
        try:
            loss = super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, given, strict=True):
                group["lr"] = group["rate_before"] = rate
        for group in self.param_groups:
            group["averaged_steps"] += 1
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "average" not in state:
                    state["average"] = parameter.detach().clone()
                else:
                    state["average"].lerp_(parameter, 1 / max(1, group["averaged_steps"] - 1))
        return loss

    @contextmanager
    def evaluation_parameters(self) -> Iterator[None]:
        """Within it the parameters are what evaluations see."""
        kept = [
            (parameter, parameter.detach().clone(), self.state[parameter]["average"])
            for group in self.param_groups
            for parameter in group["params"]
            if self.evaluate_average and "average" in self.state.get(parameter, {})
        ]
        with torch.no_grad():
            for parameter, _, average in kept:
                parameter.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, own, _ in kept:
                    parameter.copy_(own)
