"""Counts of steps, and numbers that follow from them, on the host or, for steps to be captured, on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

Count = int | Tensor


def count_steps(
    states: Sequence[dict[str, Any]], parameters: Sequence[Tensor], capturable: bool
) -> Sequence[int] | Tensor:
    """Count one step more in `step` of the state of every parameter (none before the first step); return all counts.

    They are integers; where `capturable` fp32 scalars beside the parameters, returned as one fp64 tensor.
    """
    for state, parameter in zip(states, parameters, strict=True):
        count = state.get("step", 0)
        if capturable and not isinstance(count, Tensor):
            state["step"] = torch.full((), float(count), dtype=torch.float32, device=parameter.device)
        elif not capturable:
            state["step"] = int(count)  # of a checkpoint of a step that was captured
    if capturable:
        counts = [state["step"] for state in states]
        torch._foreach_add_(counts, 1)
        return torch.stack(counts).double()
    for state in states:
        state["step"] += 1
    return [state["step"] for state in states]


def for_each(function: Callable[[Any], tuple[Any, ...]], counts: Sequence[int] | Tensor) -> Iterable[tuple[Any, ...]]:
    """`function` of every count, once over a tensor of them: numbers, or fp64 scalars on the device."""
    if isinstance(counts, Tensor):
        return zip(*(values.unbind() for values in function(counts)), strict=True)
    return map(function, counts)
