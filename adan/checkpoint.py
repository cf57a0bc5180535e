"""State dictionaries written by other Adan classes, put into this one's form."""

from __future__ import annotations

from typing import Any

import torch

from adan.slots import MOMENTS


def translate(saved: dict[str, Any]) -> dict[str, Any]:
    """Return `saved` in the form of `adan.Adan.state_dict()`; `saved` itself is not changed.

    The authors' class (sail-sg/Adan, all versions) and timm's count steps per group and keep either the previous
    gradient (`pre_grad`, 2022) or its negative (`neg_pre_grad`). Their choice of kernel (`foreach`, `fused`)
    belongs to the machine they ran on and is dropped.
    """
    if not any("step" in group for group in saved["param_groups"]):
        return saved
    states, groups = dict(saved["state"]), []
    for group in saved["param_groups"]:
        step = int(group.get("step", 0))
        groups.append({key: value for key, value in group.items() if key != "step"} | {"foreach": None, "fused": None})
        for index in group["params"]:
            if index in states:
                states[index] = _translate_parameter(states[index], step)
    return {**saved, "state": states, "param_groups": groups}


def _translate_parameter(state: dict[str, Any], step: int) -> dict[str, Any]:
    """One parameter's states. Without a previous gradient the count is 0, so that the next step sets it."""
    result = {name: state[name] for name in MOMENTS if name in state}
    if "neg_pre_grad" in state:
        result["pre_grad"] = -state["neg_pre_grad"]
    if "pre_grad" not in result:
        result["pre_grad"] = torch.zeros_like(state["exp_avg"])
        step = 0
    return {**result, "step": step}
