"""Known ways of not being Adan, each as one change of the reference.

An implementation that leaves the reference but equals a departed one is explained by it, in the departure's words.
With no departures `DepartedAdan` is the reference, bit for bit (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from experiments.conformance.reference import DEFAULTS, ReferenceAdan

DEPARTURES = {
    "nesterov": "multiplies the gradient difference by 1 - beta2 (0.08) where Algorithm 1, in this convention of the "
    "betas, has beta2 (0.92)",
    "zero start": "takes the gradient before the first one as 0, so that the first difference is the gradient itself",
    "group count": "counts steps per group: a parameter whose first gradient comes late, or that misses one, is "
    "corrected by the group's count",
    "restart keeps gradient": "a restart keeps the previous gradient, so the first difference after it is not 0",
    "restart keeps count": "a restart keeps the count of steps: the moments start at 0 without correction",
    "constructor clip": "clips all groups at the constructor's max_grad_norm; a group's own one has no effect",
    "group norm": "clips each group by its own norm, not by that of all groups",
    "clip without eps": "clips by max_grad_norm / norm, without eps",
    "remembers unclipped": "takes the difference from the previous gradient before clipping",
    "decay before": "multiplies by 1 - lr * weight_decay before the step where the proximal form is asked for",
    "decay after": "divides by 1 + lr * weight_decay after the step (proximal) where no_prox is asked for",
    "coupled decay": "adds weight_decay * parameter to the gradient",
    "no decay": "does not decay the weights",
    "eps in root": "adds eps under the square root",
    "n uncorrected": "does not correct the bias of n",
    "uncorrected": "does not correct the bias of any moment",
    "paper start": "starts from m = g and n = g^2 without corrections, as Algorithm 1 prints it",
}


class DepartedAdan(ReferenceAdan):
    """`ReferenceAdan` with some of the `DEPARTURES`."""

    def __init__(self, departures: Iterable[str], groups: Sequence[dict[str, Any]], **hyper: Any) -> None:
        super().__init__(groups, **hyper)
        self.departures = frozenset(departures)
        self.constructor = {**DEFAULTS, **hyper}
        for group in self.groups:
            group["count"] = 0

    def restart(self) -> None:
        keeps = {name for name in ("gradient", "count") if f"restart keeps {name}" in self.departures}
        for group in self.groups:
            if "count" not in keeps:
                group["count"] = 0
            if not keeps:
                group["states"] = [None] * len(group["states"])
                continue
            for index, state in enumerate(group["states"]):
                if state is not None:
                    *_, previous, t = state
                    previous = previous if "gradient" in keeps else None
                    group["states"][index] = (0.0, 0.0, 0.0, previous, t if "count" in keeps else 0)

    def step(self, grads: Sequence[Sequence[Any]]) -> None:
        for group, part in zip(self.groups, grads, strict=True):
            group["count"] += 1
            norm = _norm([part] if "group norm" in self.departures else grads)
            limit = (self.constructor if "constructor clip" in self.departures else group)["max_grad_norm"]
            eps = 0.0 if "clip without eps" in self.departures else group["eps"]
            scale = min(1.0, limit / (norm + eps)) if limit > 0 else 1.0
            for index, grad in enumerate(part):
                if grad is not None:
                    self._depart(group, index, scale, np.asarray(grad, dtype=np.float64))

    def _depart(self, group: dict[str, Any], index: int, scale: float, grad: np.ndarray) -> None:
        has = self.departures.__contains__
        b1, b2, b3 = group["betas"]
        lr, decay, theta = group["lr"], group["weight_decay"], group["params"][index]
        g = scale * grad + (decay * theta if has("coupled decay") else 0.0)
        first = 0.0 if has("zero start") else g
        m, v, n, previous, t = group["states"][index] or (0.0, 0.0, 0.0, first, 0)
        if previous is None:
            previous = first
        if has("paper start") and t == 0:
            m, n = g, g**2
        t += 1
        count = group["count"] if has("group count") else t
        coefficient = 1 - b2 if has("nesterov") else b2
        difference = g - previous
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * difference
        if has("paper start") and t == 2:
            v = difference
        n = b3 * n + (1 - b3) * (g + coefficient * difference) ** 2
        c1, c2, c3 = 1 - b1**count, 1 - b2**count, 1 - b3**count
        if has("uncorrected") or has("paper start"):
            c1 = c2 = c3 = 1.0
        if has("n uncorrected"):
            c3 = 1.0
        denominator = np.sqrt(n / c3 + group["eps"]) if has("eps in root") else np.sqrt(n / c3) + group["eps"]
        update = lr / denominator * (m / c1 + coefficient * v / c2)
        before = (group["no_prox"] or has("decay before")) and not has("decay after")
        shrink = 0.0 if has("coupled decay") or has("no decay") else lr * decay
        theta = (1 - shrink) * theta - update if before else (theta - update) / (1 + shrink)
        group["params"][index] = theta
        group["states"][index] = (m, v, n, grad if has("remembers unclipped") else g, t)


def _norm(grads: Sequence[Sequence[Any]]) -> float:
    return np.sqrt(sum(float(np.sum(np.square(g))) for part in grads for g in part if g is not None))
