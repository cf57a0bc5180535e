"""Keep between steps what follows from `param_groups` and `state`, and make it anew where these differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor

from adan.clipping import ShardedSum, SumsOnGpus
from adan.group_step import GroupStep
from adan.options import check_options

END = object()


class Plan:
    """Steps of the groups in `param_groups`, in `pairs` of a group and its step.

    The lists are the user's, who may edit them in every way that torch allows; whoever steps asks first whether the
    plan still `fits` them. The states in a step's slots are followed likewise, by `attach_gradients`. What CUDA graphs
    of its steps read is put into `captured`, to live as long as the optimizer.
    """

    def __init__(self, param_groups: Sequence[dict[str, Any]], captured: list[Any]) -> None:
        check_groups(param_groups)
        self.pairs = [(group, GroupStep(index, captured)) for index, group in enumerate(param_groups)]
        self._listed = list(_listed(param_groups))
        self._states: list[Any] = [END]
        self._sharded_sum: ShardedSum | None = None
        self._sums_on_gpus = SumsOnGpus(captured)

    def fits(self, param_groups: Sequence[dict[str, Any]]) -> bool:
        """Whether groups and parameters are the objects of which the plan was made, in their order."""
        try:
            return all(map(is_, _listed(param_groups), self._listed))
        except (KeyError, TypeError):  # no lists of groups and parameters: a new plan says what is wrong
            return False

    def attach_gradients(self, state: dict[Tensor, dict[str, Any]]) -> None:
        """Find this step's gradients, and states for all that have one."""
        if not self._knows(state):
            for _, step in self.pairs:
                step.slots.forget()
        for group, step in self.pairs:
            step.slots.find_gradients(group["params"])
        number, new = 0, False
        for group, step in self.pairs:
            step.attach(state, group, number)
            number += len(group["params"])
            new |= step.slots.new
        if new:
            self._states = list(_tensors(state))

    @torch.no_grad()
    def sum_of_squares(self, norm_group: Any) -> float | Tensor:
        """Sum the squares of all gradients attached, here and on the processes that share them."""
        parts = [pair for _, step in self.pairs for pair in step.sums_of_squares()]
        parts += self._sums_on_gpus(pair for _, step in self.pairs for pair in step.on_gpus())
        if self._sharded_sum is None:
            self._sharded_sum = ShardedSum(param for group, _ in self.pairs for param in group["params"])
        return self._sharded_sum(parts, norm_group)

    def _knows(self, state: Mapping[Tensor, dict[str, Any]]) -> bool:
        try:
            return all(map(is_, _tensors(state), self._states))
        except (AttributeError, TypeError):
            raise RuntimeError("Adan's `state` must be a dictionary of one dictionary for each parameter") from None


def check_groups(param_groups: Sequence[dict[str, Any]]) -> None:
    """ValueError where groups, as edited by hand, cannot be stepped: for want of options, say."""
    seen: dict[Tensor, int] = {}
    for index, group in enumerate(param_groups):
        where = f"param_groups[{index}]"
        params = group.get("params") if isinstance(group, dict) else None
        if not isinstance(params, (list, tuple)) or not all(isinstance(param, Tensor) for param in params):
            raise ValueError(f"{where} must be a dictionary whose 'params' is a list of tensors")
        check_options(group, f"{where}: ")
        for param in params:
            if param in seen:
                raise ValueError(
                    f"a parameter of shape {tuple(param.shape)} is in param_groups[{seen[param]}] and again in "
                    f"{where}: it would be stepped twice; name it once"
                )
            seen[param] = index


def _listed(param_groups: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """Groups and parameters, closed by an end, so that a list that lacks something differs."""
    return chain(param_groups, chain.from_iterable([group["params"] for group in param_groups]), (END,))


def _tensors(state: Mapping[Tensor, dict[str, Any]]) -> Iterator[Any]:
    """All that `state` holds, closed by an end."""
    return chain(chain.from_iterable(map(dict.values, state.values())), (END,))
