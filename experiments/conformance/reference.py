"""Adan in float64 numpy, written from the formulas as directly as they stand (code betas: 1 - the paper's).

The update is that of the authors' documentation (github.com/sail-sg/Adan, bias corrected, proximal decay unless
`no_prox`). Where their class departs from it, this is what the arguments mean: every parameter counts its own steps,
`max_grad_norm` is read from each group, and gradients belong to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

DEFAULTS: dict[str, Any] = {
    "lr": 1e-3,
    "betas": (0.98, 0.92, 0.99),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "no_prox": False,
}


class ReferenceAdan:
    """Groups are dictionaries with `params` (arrays) and hyper-parameters; `step` takes one gradient (or None) per
    parameter, group by group, and replaces the arrays."""

    def __init__(self, groups: Sequence[dict[str, Any]], **hyper: Any) -> None:
        self.groups = [{**DEFAULTS, **hyper, **group} for group in groups]
        for group in self.groups:
            group["params"] = [np.array(p, dtype=np.float64) for p in group["params"]]
            group["states"] = [None] * len(group["params"])

    @property
    def params(self) -> list[np.ndarray]:
        return [p for group in self.groups for p in group["params"]]

    def restart(self) -> None:
        for group in self.groups:
            group["states"] = [None] * len(group["states"])

    def step(self, grads: Sequence[Sequence[Any]]) -> None:
        norm = np.sqrt(sum(float(np.sum(np.square(g))) for part in grads for g in part if g is not None))
        for group, part in zip(self.groups, grads, strict=True):
            scale = min(1.0, group["max_grad_norm"] / (norm + group["eps"])) if group["max_grad_norm"] > 0 else 1.0
            for index, grad in enumerate(part):
                if grad is not None:
                    self._update(group, index, scale * np.asarray(grad, dtype=np.float64))

    def _update(self, group: dict[str, Any], index: int, g: np.ndarray) -> None:
        b1, b2, b3 = group["betas"]
        lr, decay, theta = group["lr"], group["weight_decay"], group["params"][index]
        m, v, n, previous, t = group["states"][index] or (0.0, 0.0, 0.0, g, 0)
        t += 1
        difference = g - previous
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * difference
        n = b3 * n + (1 - b3) * (g + b2 * difference) ** 2
        eta = lr / (np.sqrt(n / (1 - b3**t)) + group["eps"])
        update = eta * (m / (1 - b1**t) + b2 * v / (1 - b2**t))
        prox = 1 + lr * decay
        theta = (1 - lr * decay) * theta - update if group["no_prox"] else (theta - update) / prox
        group["params"][index] = theta
        group["states"][index] = (m, v, n, g, t)
