"""States from a state dictionary, made to fit the parameters that they are for, or refused."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from adan.foreign_states import likely_owner
from adan.group_step import device_of_step, zeros
from adan.options import LATER_OPTIONS, check_options
from adan.slots import MOMENTS, is_sharded, local


def fitted(saved: Mapping[str, Any], param_groups: Sequence[dict[str, Any]]) -> dict[Tensor, dict[str, Any]]:
    """New states for the parameters of `param_groups` with the values of `saved`, which is in our own form.

    They are in the types that the saved groups ask for, lie as their parameters do, and share no memory with `saved`.
    Raises ValueError where anything is missing or does not fit. Nothing that is passed in is changed.
    """
    groups, states, found = saved["param_groups"], {}, set()
    if len(groups) != len(param_groups):
        raise ValueError(f"the state has {len(groups)} parameter groups, this optimizer {len(param_groups)}")
    for index, (saved_group, group) in enumerate(zip(groups, param_groups, strict=True)):
        where = f"param_groups[{index}] of the state: "
        options = {**LATER_OPTIONS, **saved_group}
        check_options(options, where)
        if len(saved_group["params"]) != len(group["params"]):
            raise ValueError(f"{where}{len(saved_group['params'])} parameters, this optimizer {len(group['params'])}")
        for param, key in zip(group["params"], saved_group["params"], strict=True):
            found.add(key)
            if values := saved["state"].get(key):
                states[param] = _fitted(param, values, options, f"the state of parameter {_name(key)}")
    if more := [_name(key) for key, values in saved["state"].items() if key not in found and values]:
        raise ValueError(f"the state has entries for {', '.join(more[:5])}, which are in none of its groups")
    return states


def _fitted(param: Tensor, values: Mapping[str, Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    if missing := [name for name in ("step", *MOMENTS) if name not in values]:
        owner = likely_owner(values, options)
        hint = f"; it looks like one of {owner}" if owner else ""
        raise ValueError(f"{where} lacks {', '.join(missing)}{hint}")
    state = zeros(param, options["state_dtype"], device_of_step(options, param))
    for name in MOMENTS:
        _check_moment(param, values[name], f"{where}: {name}")
        with torch.no_grad():
            state[name].copy_(values[name])
    if bool((local(values["exp_avg_sq"]) < 0).any()):
        raise ValueError(f"{where}: exp_avg_sq, a mean of squares, has negative elements")
    state["step"].fill_(_count(values["step"], where))
    more = {key: value for key, value in values.items() if key not in state}
    return {**{key: _copied(value, param) for key, value in more.items()}, **state}


def _check_moment(param: Tensor, value: Any, where: str) -> None:
    if not isinstance(value, Tensor) or value.layout is not torch.strided or not value.is_floating_point():
        kind = f"a {value.layout} tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{where} must be a dense tensor of real numbers, not {kind}")
    if value.shape != param.shape:
        raise ValueError(f"{where} has shape {tuple(value.shape)}, the parameter {tuple(param.shape)}")
    if is_sharded(param) != is_sharded(value):
        raise ValueError(
            f"{where} is {'sharded' if is_sharded(value) else 'whole'}, the parameter not; "
            "torch.distributed.checkpoint.state_dict.set_optimizer_state_dict loads one into the other"
        )


def _count(step: Any, where: str) -> float:
    if isinstance(step, Tensor) and step.numel() == 1:
        step = local(step).item()
    whole = isinstance(step, (int, float)) and not isinstance(step, bool) and math.isfinite(step) and step == int(step)
    if not whole or step < 0:
        raise ValueError(f"{where}: step must be a whole number of at least 0, not {step!r}")
    return float(step)


def _copied(value: Any, param: Tensor) -> Any:
    return value.detach().to(param.device, copy=True) if isinstance(value, Tensor) else copy.deepcopy(value)


def _name(key: Any) -> str:
    return f"a parameter of shape {tuple(key.shape)}" if isinstance(key, Tensor) else repr(key)
