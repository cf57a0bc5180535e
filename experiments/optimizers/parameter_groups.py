"""Which parameters decay."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn


def parameter_groups(module: nn.Module, weight_decay: float, decay_bias_and_norm: bool) -> list[dict[str, Any]]:
    """Parameter groups of a bare module, each with `params`, `names` and its `weight_decay`; none is empty.

    With `decay_bias_and_norm` one group holds all and decays. Without it a second group, with no decay, holds
    biases, all tensors of at most one dimension (norms, scales) and what `module.no_weight_decay()` names, wildcards
    included: timm's rule (timm/optim/_param_groups.py; `bias_decay: false` in the released arguments).
    Frozen parameters are in neither.
    """
    exempt: Iterable[str] = getattr(module, "no_weight_decay", set)()
    decayed: list[tuple[str, nn.Parameter]] = []
    undecayed: list[tuple[str, nn.Parameter]] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        small = parameter.ndim <= 1 or name == "bias" or name.endswith(".bias") or _matches(name, exempt)
        (undecayed if small and not decay_bias_and_norm else decayed).append((name, parameter))
    return [
        {"params": [p for _, p in members], "names": [name for name, _ in members], "weight_decay": decay}
        for members, decay in ((decayed, weight_decay), (undecayed, 0.0))
        if members
    ]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
