"""torch's Adam, AdamW and SGD in their fused form, one pass over memory; left alone they take several.

On a GPU that form reads the rate from a tensor and skips, on the device, a step that a gradient scaler finds infinite:
it can be captured in a CUDA graph. On a CPU it is several times as fast as what torch would choose.

Three things that it leaves out (torch 2.15) are made good around it. It wants gradients laid out as the parameters are;
on a CPU it reads them in the order of memory regardless, so that channels_last gradients gave updates of other weights.
It does not count up the versions by which autograd notices that a parameter changed. And where its very first step is
skipped, SGD keeps memory that nothing has been written to as momentum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer


def in_one_pass(kind: type[Optimizer], groups: list[dict[str, Any]], settings: dict[str, Any]) -> Optimizer:
    """An Adam, AdamW or SGD, fused where all parameters are on a CPU or all on a GPU; elsewhere as torch chooses."""
    if not (all_on("cpu", groups) or all_on("cuda", groups)):
        return kind(groups, **settings)
    optimizer = kind(groups, fused=True, **settings)  # type: ignore[call-arg]
    laid_out = _LaidOut()
    optimizer.register_step_pre_hook(laid_out.give)
    optimizer.register_step_post_hook(laid_out.take_back)
    if kind is SGD:
        optimizer.register_step_pre_hook(_begin_momentum_at_zero)
    optimizer.register_step_post_hook(_count_versions)
    return optimizer


def in_one_pass_on_gpu(kind: type[Optimizer], groups: list[dict[str, Any]], settings: dict[str, Any]) -> Optimizer:
    """`in_one_pass` on a GPU; elsewhere as torch chooses."""
    return in_one_pass(kind, groups, settings) if all_on("cuda", groups) else kind(groups, **settings)


def all_on(device_type: str, groups: list[dict[str, Any]]) -> bool:
    """Whether all parameters of `groups` are on devices of a type."""
    return all(parameter.device.type == device_type for group in groups for parameter in group["params"])


class _LaidOut:
    """Gradients laid out as their parameters, during a step."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Tensor, Tensor]] = []

    def give(self, optimizer: Optimizer, *_: object) -> None:
        self._replaced.clear()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None and gradient.stride() != parameter.stride():
                    self._replaced.append((parameter, gradient))
                    parameter.grad = torch.empty_like(parameter).copy_(gradient)

    def take_back(self, *_: object) -> None:
        for parameter, gradient in self._replaced:
            parameter.grad = gradient
        self._replaced.clear()


def _begin_momentum_at_zero(optimizer: Optimizer, *_: object) -> None:
    """After a step that is the gradient, as it would be without."""
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _count_versions(optimizer: Optimizer, *_: object) -> None:
    stepped = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    torch.autograd.graph.increment_version(list(stepped))
