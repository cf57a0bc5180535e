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
def lay_out(slots: Sequence[Slot], grads: Sequence[Tensor]) -> tuple[list[Slot], list[tuple[Tensor, Tensor]]]:
    """Slots with `grads`, whose tensors all lie as the first state does, the gradient in the parameter's type.

    What does not lie so (a gradient in another memory format, a parameter that is a view with gaps) is replaced by a
    copy; the second result pairs what a step writes with its copy, to be copied back after it. Raises RuntimeError
    where a parameter has another shape than its states.
    """
    laid_out, copies = [], []
    for slot, grad in zip(slots, grads, strict=True):
        if slot.param.shape != slot.exp_avg.shape:
            shapes = f"{tuple(slot.param.shape)}, its states {tuple(slot.exp_avg.shape)}"
            raise RuntimeError(f"a parameter has changed its shape: it has {shapes}; make a new optimizer")
        layout = _dense(slot.exp_avg)
        written: dict[str, Any] = {name: _like(getattr(slot, name), layout) for name in WRITTEN}
        read = _like(grad.resolve_neg().to(slot.param.dtype), layout)
        laid_out.append(replace(slot, grad=read, **written))
        pairs = [(getattr(slot, name), tensor) for name, tensor in written.items()]
        copies += [(original, copy) for original, copy in pairs if original is not copy]
    return laid_out, copies


@torch.no_grad()
def copy_back(copies: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Write what `lay_out` copied to where it came from."""
    for original, copy in copies:
        original.copy_(copy)


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
