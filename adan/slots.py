"""The tensors that one step of one parameter group works on, kept from step to step while they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter, is_, is_not
from typing import Any, overload

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad")

_grad = attrgetter("grad")
# Stands for a gradient between steps: the optimizer keeps none alive.
NO_GRADIENT = torch.empty(0)


def state_dtype(param: Tensor, asked: torch.dtype | None = None) -> torch.dtype:
    """Type in which the states of `param` are kept: never less than fp32, unless `asked` for; fp64 for fp64."""
    if param.dtype is torch.float64:
        return torch.float64
    return asked or torch.float32


@dataclass(slots=True)
class Slot:
    """A parameter with its gradient and states; of DTensors the local shards.

    `step` (0-dim, fp32) counts the steps made so far; `number` is the parameter's place in the optimizer.
    """

    param: Tensor
    grad: Tensor
    exp_avg: Tensor
    exp_avg_diff: Tensor
    exp_avg_sq: Tensor
    pre_grad: Tensor
    step: Tensor
    number: int


class GroupSlots(Sequence[Slot]):
    """Slots of the parameters of one group that have a gradient, in their order.

    Each step calls `find_gradients`, then `attach`. While parameters are the same objects the slots stay, and with them
    what a kernel derived from them, until `forget` says that states are others; `version` counts how often they were
    made `new`. All this happens at every step of the smallest networks, so it is few calls over whole lists, and the
    slots' own `grad` is brought up to date (`give_gradients`) only for implementations that read it.
    """

    def __init__(self) -> None:
        self.version = 0
        self.new = False
        self.params: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.contiguous = False
        self._places: Sequence[int] = ()
        self._slots: list[Slot] = []
        self._standing: list[Tensor] = []
        self._states: list[dict[str, Any]] = []
        self._sharded = False
        self._given = False

    def __len__(self) -> int:
        return len(self._slots)

    @overload
    def __getitem__(self, index: int) -> Slot: ...
    @overload
    def __getitem__(self, index: slice) -> list[Slot]: ...
    def __getitem__(self, index: int | slice) -> Slot | list[Slot]:
        return self._slots[index]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def find_gradients(self, params: list[Tensor]) -> None:
        """Note which of `params` have a gradient. RuntimeError where one is sparse or complex."""
        grads, self._places = list(map(_grad, params)), range(len(params))
        if not all(map(is_not, grads, repeat(None))):
            self._places = [place for place, grad in enumerate(grads) if grad is not None]
            params, grads = [params[place] for place in self._places], [grads[place] for place in self._places]
        try:
            self.contiguous = all(map(Tensor.is_contiguous, grads))
        except RuntimeError:  # sparse tensors have no answer
            self.contiguous = False
        if not self.contiguous:
            _refuse_sparse_and_complex(params, grads)
        self.params, self.grads = params, grads

    def attach(
        self, state: Mapping[Tensor, dict[str, Any]], make_state: Callable[[Tensor], None], first_number: int
    ) -> None:
        """Put the gradients found into slots. `make_state` gives a parameter without states its first ones."""
        self.new = not self._stand()
        if self.new:
            self._make(state, make_state, first_number)
        if self._sharded:
            self.grads = list(map(local, self.grads))
            self.contiguous = all(map(Tensor.is_contiguous, self.grads))

    def give_gradients(self) -> None:
        """Set `grad` of every slot."""
        for slot, grad in zip(self._slots, self.grads, strict=True):
            slot.grad = grad
        self._given = True

    def release_gradients(self) -> None:
        """Hold no gradient between steps: its memory is the next backward pass's."""
        self.params, self.grads = [], []
        if self._given:
            for slot in self._slots:
                slot.grad = NO_GRADIENT
            self._given = False

    def forget(self) -> None:
        """Make the slots anew at the next step."""
        self._standing = []

    def place_step(self, index: int, device: torch.device) -> None:
        """Keep the count of one slot on `device`."""
        slot, state = self._slots[index], self._states[index]
        if slot.step.device != device:
            slot.step = state["step"] = slot.step.to(device)

    def _stand(self) -> bool:
        """Whether the slots are those of the parameters found."""
        return (
            len(self.params) == len(self._standing)
            and all(map(is_, self.params, self._standing))
            and not (self._sharded and self._shards_moved())
        )

    def _shards_moved(self) -> bool:
        """Whether DTensors that are the same objects have other local tensors, as after `model.to`."""
        return any(
            local(param) is not slot.param or any(local(values[name]) is not getattr(slot, name) for name in MOMENTS)
            for param, values, slot in zip(self.params, self._states, self._slots, strict=True)
        )

    def _make(
        self, state: Mapping[Tensor, dict[str, Any]], make_state: Callable[[Tensor], None], first_number: int
    ) -> None:
        _refuse_sparse_and_complex(self.params, self.grads)
        for param in self.params:
            if not state.get(param):
                make_state(param)
            _refuse_incomplete(param, state[param])
        self.version += 1
        self._standing = list(self.params)
        self._states = [state[param] for param in self.params]
        self._sharded = any(map(is_sharded, self.params))
        self._slots = [
            Slot(
                param=local(param),
                grad=NO_GRADIENT,
                step=values["step"],
                number=first_number + place,
                **{name: local(values[name]) for name in MOMENTS},
            )
            for param, values, place in zip(self.params, self._states, self._places, strict=True)
        ]


def is_sharded(tensor: Tensor) -> bool:
    """Whether `tensor` is a DTensor, as FSDP2 makes parameters."""
    return hasattr(tensor, "placements") and hasattr(tensor, "to_local")


def local(tensor: Any) -> Tensor:
    """The part of a DTensor that is on this rank; any other tensor itself."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():
        return tensor.to_local()


def _refuse_incomplete(param: Tensor, values: Mapping[str, Any]) -> None:
    for name in ("step", *MOMENTS):
        if not isinstance(values.get(name), Tensor):
            found = f"a {type(values[name]).__name__}, not a tensor" if name in values else "missing"
            raise RuntimeError(
                f"the state {name!r} of a parameter of shape {tuple(param.shape)} is {found}; delete all of its "
                "state, and it begins anew"
            )


def _refuse_sparse_and_complex(params: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
    for param, grad in zip(params, grads, strict=True):
        for kind, found in (("sparse", grad.layout is not torch.strided), ("complex", grad.is_complex())):
            if found:
                shape = tuple(param.shape)
                raise RuntimeError(f"Adan takes real, dense gradients; that of a parameter of shape {shape} is {kind}")
