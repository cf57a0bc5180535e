"""Tensors as kernels want them: all of a slot lying in memory in one order, without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from adan.slots import MOMENTS, Slot

WRITTEN = ("param", *MOMENTS)


@torch.no_grad()
def lay_out(
    slots: Sequence[Slot], grads: Sequence[Tensor], grad_dtype: torch.dtype
) -> tuple[list[Slot], list[tuple[Tensor, Tensor]]]:
    """Slots with `grads` in `grad_dtype`, whose tensors all lie as the first state does.

    What does not lie so (a gradient in another memory format, a parameter that is a view with gaps) is replaced by a
    copy; the second result pairs what a step writes with its copy, to be copied back after it. Raises RuntimeError
    where a state does not fit its parameter.
    """
    laid_out, copies = [], []
    for slot, grad in zip(slots, grads, strict=True):
        check_states(slot, slot.param.device)
        layout = _dense(slot.exp_avg)
        written: dict[str, Any] = {name: _like(getattr(slot, name), layout) for name in WRITTEN}
        laid_out.append(replace(slot, grad=_like(grad.resolve_neg().to(grad_dtype), layout), **written))
        pairs = [(getattr(slot, name), tensor) for name, tensor in written.items()]
        copies += [(original, copy) for original, copy in pairs if original is not copy]
    return laid_out, copies


@torch.no_grad()
def copy_back(copies: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Write what `lay_out` copied to where it came from."""
    for original, copy in copies:
        original.copy_(copy)


def check_states(slot: Slot, device_of_step: torch.device) -> None:
    """RuntimeError where states do not fit one another, or their parameter: it was given other data.

    A kernel reads memory by address and would find something else than it was told; torch's operations would stop
    half-way, or broadcast.
    """
    if slot.param.shape != slot.exp_avg.shape:
        shapes = f"{tuple(slot.param.shape)}, its states {tuple(slot.exp_avg.shape)}"
        raise RuntimeError(f"a parameter has changed its shape: it has {shapes}; make a new optimizer")
    shape, device = slot.param.shape, slot.param.device
    wanted = {name: (shape, slot.exp_avg.dtype, device) for name in MOMENTS}
    wanted["step"] = (torch.Size(), torch.float32, device_of_step)
    for name, (size, dtype, place) in wanted.items():
        found = getattr(slot, name)
        if (found.shape, found.dtype, found.device) != (size, dtype, place):
            raise RuntimeError(
                f"the state {name!r} of a parameter of shape {tuple(shape)} on {device} is a {found.dtype} of shape "
                f"{tuple(found.shape)} on {found.device}, not a {dtype} of shape {tuple(size)}: did the parameter "
                "change? load_state_dict(state_dict()) fits states to parameters, a new optimizer starts afresh"
            )


def _dense(tensor: Tensor) -> Tensor:
    """`tensor` if its elements fill their memory without gaps, else a contiguous copy."""
    return tensor if torch.empty_like(tensor, device="meta").stride() == tensor.stride() else tensor.contiguous()


def _like(tensor: Tensor, layout: Tensor) -> Tensor:
    """`tensor` if its elements lie in memory in the order of those of `layout`, else a copy that does."""
    if _strides(tensor) == _strides(layout):
        return tensor
    return torch.empty_like(layout, dtype=tensor.dtype).copy_(tensor)


def _strides(tensor: Tensor) -> list[int]:
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
