"""Loss scaling that leaves out a step on the device, so that nobody waits to hear of it and it can be captured."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from experiments.optimizers import info


class ScalerOnDevice(torch.amp.GradScaler):
    """torch's `GradScaler`, bit for bit, without its question whether a gradient was infinite.

    Optimizers that leave out a step themselves (`_step_supports_amp_scaling`: Adan, torch's fused ones) never wait for
    it. Of others that are kept on the device, rates and counts of steps included, the step is made, and unmade where it
    should not have been: parameters and states are copied before it, and chosen from the copy or the step after it. The
    rest waits as in torch's. So does each parameter's first step: what its states are before it only the optimizer
    knows.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._has_states: dict[Tensor, bool] = {}  # of parameters that have been stepped

    def decides_on_device(self, optimizer: Optimizer) -> bool:
        """Whether the next step of `optimizer` waits for nothing, and so can be captured."""
        if not self.is_enabled() or getattr(optimizer, "_step_supports_amp_scaling", False):
            return True
        return _is_kept_on_device(optimizer) and all(
            self._has_states.get(parameter) == bool(optimizer.state.get(parameter))
            and all(_is_beside(value, parameter) for value in optimizer.state.get(parameter, {}).values())
            for parameter in _stepped(optimizer)
        )

    def _maybe_opt_step(self, optimizer: Optimizer, optimizer_state: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        found = list(optimizer_state["found_inf_per_device"].values())
        if len(found) == 1 and self.decides_on_device(optimizer):
            return _step_unless(found[0] != 0, optimizer, *args, **kwargs)
        if any(one.item() for one in found):
            return None
        returned = optimizer.step(*args, **kwargs)
        self._has_states.update({one: bool(optimizer.state.get(one)) for one in _stepped(optimizer)})
        return returned


def _step_unless(skipped: Tensor, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
    """Step; where `skipped` (0-dim, bool) nothing has changed."""
    with torch.no_grad():
        before = [tensor.clone() for tensor in _changed_by(optimizer)]
    returned = optimizer.step(*args, **kwargs)
    with torch.no_grad():
        for old, new in zip(before, _changed_by(optimizer), strict=True):
            torch.where(skipped, old, new, out=new)
    return returned


def _changed_by(optimizer: Optimizer) -> Iterator[Tensor]:
    """What a step of `optimizer` changes: parameters with a gradient, and their states."""
    return chain.from_iterable((one, *optimizer.state.get(one, {}).values()) for one in _stepped(optimizer))


def _stepped(optimizer: Optimizer) -> Iterator[Tensor]:
    return (one for group in optimizer.param_groups for one in group["params"] if one.grad is not None)


def _is_kept_on_device(optimizer: Optimizer) -> bool:
    name = getattr(optimizer, "registry_name", None)
    rates = [group["lr"] for group in optimizer.param_groups]
    return name is not None and info(name).capturable and all(isinstance(rate, Tensor) for rate in rates)


def _is_beside(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.device == parameter.device
