"""Number formats of a run: `fp32`, `bf16` and `fp16` by autocast, `fp64` for exactness tests."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from experiments.training.scaling import ScalerOnDevice

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def prepare(module: nn.Module, precision: str, device: torch.device, channels_last: bool) -> nn.Module:
    """Move `module` to `device` in the storage format of `precision`; parameters stay fp32 under autocast."""
    module = module.to(device)
    if precision == "fp64":
        module = module.double()
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    return module


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The context of a forward pass."""
    if precision in AUTOCAST:
        return torch.autocast(device.type, dtype=AUTOCAST[precision])
    return nullcontext()


def gradient_scaler(precision: str, device: torch.device) -> ScalerOnDevice:
    """Loss scaling, active only for fp16. A step that it skips changes no optimizer state."""
    return ScalerOnDevice(device.type, enabled=precision == "fp16")
