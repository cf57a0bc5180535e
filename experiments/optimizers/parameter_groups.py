"""Which parameters decay, and how the rates of layers differ."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from experiments.schema.errors import UserError


def parameter_groups(
    module: nn.Module, weight_decay: float, decay_bias_and_norm: bool, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Parameter groups of a bare module, each with `params`, `names` and its `weight_decay`; none is empty.

    With `decay_bias_and_norm` one group holds all and decays. Without it a second group, with no decay, holds
    biases, all tensors of at most one dimension (norms, scales) and what `module.no_weight_decay()` names, wildcards
    included: timm's rule (timm/optim/_param_groups.py; `bias_decay: false` in the released arguments).
    Frozen parameters are in neither.

    A `layer_decay` other than 1 makes timm's groups (`timm.optim.param_groups_layer_decay`): two for each layer, with
    `lr_scale`, the factor of its rate: `layer_decay` to the number of layers above it. Raises UserError for a module
    that does not tell its layers by timm's `group_matcher`.
    """
    exempt: Iterable[str] = getattr(module, "no_weight_decay", set)()
    if layer_decay != 1.0:
        return _groups_of_layers(module, weight_decay, decay_bias_and_norm, layer_decay, exempt)
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


def _groups_of_layers(
    module: nn.Module, weight_decay: float, decay_bias_and_norm: bool, layer_decay: float, exempt: Iterable[str]
) -> list[dict[str, Any]]:
    if not hasattr(module, "group_matcher"):
        raise UserError(
            f"optim.layer_decay={layer_decay:g}: {type(module).__name__} does not tell its layers (timm's models do, "
            "by group_matcher); did you mean optim.layer_decay=1?"
        )
    from timm.optim import param_groups_layer_decay  # timm takes three seconds to import

    groups = param_groups_layer_decay(
        module,
        weight_decay,
        no_weight_decay_list=() if decay_bias_and_norm else tuple(exempt),
        weight_decay_exclude_1d=not decay_bias_and_norm,
        layer_decay=layer_decay,
    )
    names = {parameter: name for name, parameter in module.named_parameters()}
    return [{**group, "names": [names[parameter] for parameter in group["params"]]} for group in groups]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
