"""Rates and counts of steps in tensors beside the parameters: what a step needs that never reads a number on the host.

Then a step can be recorded in a CUDA graph and replayed with other rates. The form of torch's `capturable`, which
rounds rates and bias corrections to fp32; the same whether or not it is recorded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def keep_on_device(optimizer: Optimizer) -> None:
    """Give every parameter group its rate as an fp32 tensor on the device of its parameters, and let the optimizer, one
    whose `OptimizerInfo.capturable` holds, count steps there. To be called again after `load_state_dict`."""
    for group in optimizer.param_groups:
        device = group["params"][0].device
        group["lr"] = torch.full((), float(group["lr"]), dtype=torch.float32, device=device)
        if "capturable" in group and device.type == "cuda":
            group["capturable"] = True
        for state in (optimizer.state.get(parameter, {}) for parameter in group["params"]):
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(device)


def portable(state: dict[str, Any]) -> dict[str, Any]:
    """A `state_dict` as an optimizer has it that keeps rates on the host, for a checkpoint of any device."""
    groups = [
        {**group, "lr": float(group["lr"]), **({"capturable": False} if "capturable" in group else {})}
        for group in state["param_groups"]
    ]
    return {**state, "param_groups": groups}
