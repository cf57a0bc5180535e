"""A state dictionary of ours in the form of the authors' class or of timm's, from which their step goes on exactly.

    torch.save(export_state_dict(optimizer, form="sail-sg"), path)

`optimizer.state_dict()` itself loads into their classes without an error, but they count steps per group: theirs would
begin at 1 again over moments that are not zero, and the next step would be several times too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from adan.optimizer import Adan

FORMS = ("sail-sg", "timm")
MOMENTS_OF_BOTH = ("exp_avg", "exp_avg_sq", "exp_avg_diff")
NOT_THEIRS = {"capturable", "state_dtype", "state_rounding", "foreach", "fused"}


def export_state_dict(optimizer: Adan, form: str) -> dict[str, Any]:
    """Return a copy of the states from which `load_state_dict` of another Adan goes on exactly.

    Args:
        optimizer: an `adan.Adan`.
        form: "sail-sg" for the authors' class, "timm" for `timm.optim.Adan` since 1.0.12.

    The authors' class clips by the `max_grad_norm` of its constructor, whatever it loads: make it with the same.

    Raises:
        ValueError: where their class would step otherwise: parameters of a group that have made different numbers of
            steps, parameters in half precision (their states have the parameter's type), clipping by groups or, with
            timm, at all.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, not {form!r}")
    if not isinstance(optimizer, Adan):
        raise ValueError(f"only an adan.Adan can be exported, not a {type(optimizer).__name__}")
    _refuse_other_clipping(optimizer, form)
    saved = optimizer.state_dict()
    states, groups = {}, []
    for number, (group, saved_group) in enumerate(zip(optimizer.param_groups, saved["param_groups"], strict=True)):
        where = f"param_groups[{number}] cannot be exported: "
        groups.append(_their_group(saved_group, _count(optimizer, group, where), form))
        for param, index in zip(group["params"], saved_group["params"], strict=True):
            if state := optimizer.state.get(param):
                if param.dtype not in (torch.float32, torch.float64):
                    raise ValueError(f"{where}their states of parameters in {param.dtype} are in {param.dtype}, too")
                states[index] = _their_state(state, param.dtype)
    return {"state": states, "param_groups": groups}


def _count(optimizer: Adan, group: Mapping[str, Any], where: str) -> int:
    """The count that all parameters of a group share. A frozen parameter makes no step, with them as with us."""
    counts = set()
    for param in group["params"]:
        if state := optimizer.state.get(param):
            counts.add(int(state["step"]))
        elif param.requires_grad:
            counts.add(0)
    if len(counts) > 1:
        raise ValueError(
            f"{where}their class counts steps per group, but parameters of it have made {sorted(counts)} steps; "
            "groups of parameters that were stepped equally often can be"
        )
    return counts.pop() if counts else 0


def _their_group(group: Mapping[str, Any], step: int, form: str) -> dict[str, Any]:
    ours = {key: value for key, value in group.items() if key not in NOT_THEIRS}
    theirs: dict[str, Any] = {"foreach": True, "fused": False} if form == "sail-sg" else {"foreach": None}
    if form == "timm":
        del ours["max_grad_norm"]
        theirs["caution"] = False
    return {**ours, **theirs, "lr": float(group["lr"]), "betas": tuple(group["betas"]), "step": step}


def _their_state(state: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    result = {name: state[name].detach().to(dtype, copy=True) for name in MOMENTS_OF_BOTH}
    return {**result, "neg_pre_grad": -state["pre_grad"].detach().to(dtype)}


def _refuse_other_clipping(optimizer: Adan, form: str) -> None:
    groups = optimizer.param_groups
    if not any(group["max_grad_norm"] > 0 for group in groups):
        return
    if form == "timm":
        raise ValueError("timm's Adan does not clip: set max_grad_norm to 0 in all groups, and clip gradients yourself")
    if len({(group["max_grad_norm"], group["eps"]) for group in groups}) > 1:
        raise ValueError("the authors' class clips all groups with one max_grad_norm and eps; here they differ")
    if optimizer.norm_group is not None:
        raise ValueError("the authors' class takes the norm of its own process's gradients; norm_group has no likeness")
