"""One parameter group's step: which implementation suits its tensors, and the call of it.

=================  ================================================================================================
implementation     what it is
=================  ================================================================================================
`fused-cpp`        `adan.kernels.cpu`: C++ built on first use; one pass over memory, all tensors of a type in a call
`fused-triton`     `adan.kernels.gpu`: the same on a GPU, without waiting for it
`foreach`          `adan.update.foreach`: torch, one call per operation over all tensors
`single-tensor`    `adan.update.single_tensor`: torch, tensor by tensor
=================  ================================================================================================
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from operator import attrgetter, is_, itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from adan.clipping import Scaling, sharding, sum_of_squares
from adan.kernels.compilation import KernelUnavailable
from adan.layout import WRITTEN, check_states, copy_back, lay_out
from adan.options import OPTIONS, check_options
from adan.slots import MOMENTS, GroupSlots, Slot, local, state_dtype
from adan.update import Hyperparameters, foreach, single_tensor

FUSED_CPU, FUSED_GPU, FOREACH, SINGLE_TENSOR = "fused-cpp", "fused-triton", "foreach", "single-tensor"

# On a CPU a list operation saves Python's overhead per tensor but walks over all tensors before the next operation,
# so it loses once they no longer fit the cache together (measured: between 0.25 and 1 million elements).
FOREACH_CPU_ELEMENTS = 1 << 19

_options = itemgetter(*OPTIONS)
_form = attrgetter("shape", "dtype")
_choices = itemgetter("foreach", "fused", "capturable", "state_dtype", "state_rounding")


class GroupStep:
    """Steps the parameters of one group, the optimizer's `index`th, and keeps what can be kept between steps; for
    `captured` see `Plan`."""

    def __init__(self, index: int, captured: list[Any]) -> None:
        self._captured = captured
        self.slots = GroupSlots()
        self._where = f"param_groups[{index}]: "
        self._parts: list[_Part] = []
        self._made_for: Any = None
        self._hyper: Hyperparameters | None = None
        self._given: tuple[Any, ...] | None = None
        self._mutable = False

    def read_options(self, group: dict[str, Any]) -> None:
        """Take the group's options as they are now. ValueError where one cannot be."""
        given = _options(group)
        if self._given is None or self._mutable or not all(map(is_, given, self._given)):
            check_options(group, self._where)
            lr, betas, eps, weight_decay, max_grad_norm, no_prox, *_ = given
            self._hyper = Hyperparameters(lr, tuple(betas), eps, weight_decay, bool(no_prox), max_grad_norm)
            # The same tensor or list may hold another value at the next step.
            self._mutable = isinstance(lr, Tensor) or type(betas) is not tuple
            self._given = given

    def attach(self, state: dict[Tensor, dict[str, Any]], group: dict[str, Any], first_number: int) -> None:
        """Give the gradients that `slots` has found to the implementation of each tensor.

        `first_number` is the place in the optimizer of the group's first parameter.
        """
        slots = self.slots
        slots.attach(state, lambda param: state.setdefault(param, {}).update(first_state(group, param)), first_number)
        made_for = (slots.version, *_choices(group))
        if made_for != self._made_for:
            self._refuse_states_of_another_type(group["state_dtype"])
            self._parts = _parts(group, slots, self._captured)
            self._made_for = made_for
        for part in self._parts:
            part.find(slots)

    def _refuse_states_of_another_type(self, asked: torch.dtype | None) -> None:
        for slot in self.slots:
            wanted, found = state_dtype(slot.param, asked), slot.exp_avg.dtype
            if found is not wanted:
                raise RuntimeError(
                    f"{self._where}state_dtype={asked} asks for states in {wanted}, but a parameter of shape "
                    f"{tuple(slot.param.shape)} has its states in {found}; load_state_dict(state_dict()) casts them"
                )

    @property
    def implementations(self) -> set[str]:
        """Return what the last step ran; empty before the first."""
        return {part.implementation for part in self._parts}

    def sums_of_squares(self) -> list[tuple[Any, float | Tensor]]:
        """(sharding, sum of squares) of the gradients, part by part, but for those `on_gpus`; see
        `adan.clipping.ShardedSum`."""
        return [pair for part in self._parts for pair in part.sums_of_squares()]

    def on_gpus(self) -> list[tuple[Any, list[Tensor]]]:
        """(sharding, gradients), part by part, whose squares the GPU kernel sums over all groups at once; see
        `adan.clipping.SumsOnGpus`."""
        return [(part.sharding, part.gradients()) for part in self._parts if part.implementation == FUSED_GPU]

    def step(self, scaling: Scaling, found_inf: Tensor | None) -> None:
        """Step at the gradients attached, scaled, with the options read.

        Nothing is done where `found_inf` (GPU kernel only) is not 0.
        """
        assert self._hyper is not None
        for part in self._parts:
            part.step(self._hyper, scaling, found_inf)


def chosen(group: dict[str, Any]) -> set[str]:
    """Implementations that the group's parameters would take, whatever gradients they have. May build the kernel."""
    small = _is_small(group)
    return {_choose(group, local(param), small) for param in group["params"]}


def first_state(group: dict[str, Any], param: Tensor) -> dict[str, Any]:
    """States of a parameter that has not been stepped: zeros, laid out as it is."""
    device = param.device if _choose(group, local(param)) == FUSED_GPU else torch.device("cpu")
    return zeros(param, group["state_dtype"], device)


def device_of_step(group: Mapping[str, Any], param: Tensor) -> torch.device:
    """Where the count of a parameter's steps is kept: with it where the GPU kernel steps it, else on the CPU."""
    on_gpu = param.is_cuda and _choose(group, local(param)) == FUSED_GPU
    return param.device if on_gpu else torch.device("cpu")


def zeros(param: Tensor, asked: torch.dtype | None, device_of_step: torch.device) -> dict[str, Any]:
    """States of no steps in the type `asked` for (`adan.slots.state_dtype`)."""
    dtype = state_dtype(param, asked)
    return {
        "step": torch.zeros((), dtype=torch.float32, device=device_of_step),
        **{name: torch.zeros_like(param, dtype=dtype) for name in MOMENTS},
    }


def _choose(group: Mapping[str, Any], param: Tensor, small: bool = False) -> str:
    """Implementation for a local tensor of the group. RuntimeError where the group insists on what cannot be."""
    insists = "fused" if group["fused"] else "capturable" if group["capturable"] else None
    if insists or (group["fused"] is None and group["foreach"] is None):
        reason = _why_not_fused(param.device, param.dtype, state_dtype(param, group["state_dtype"]), type(param))
        if reason is None and group["capturable"] and not param.is_cuda:
            reason = f"a step on the {param.device.type} cannot be captured in a CUDA graph"
        if reason is None:
            return FUSED_GPU if param.is_cuda else FUSED_CPU
        if insists:
            raise RuntimeError(f"{insists}=True: {reason}")
    if group["foreach"] is not None:
        return FOREACH if group["foreach"] else SINGLE_TENSOR
    return FOREACH if param.is_cuda or small else SINGLE_TENSOR


def _is_small(group: dict[str, Any]) -> bool:
    """Whether lists pay on a CPU. Depends on the group's parameters alone, never on the gradients at hand."""
    params = group["params"]
    return len(params) > 1 and sum(local(param).numel() for param in params) <= FOREACH_CPU_ELEMENTS


@cache
def _why_not_fused(device: torch.device, param: torch.dtype, states: torch.dtype, kind: type) -> str | None:
    """Why no kernel can step such tensors; None if one can. Where that is the machine's fault it is said, once."""
    if kind not in (Tensor, Parameter):
        return f"no kernel reads the memory of a {kind.__name__}"
    if device.type == "cpu":
        from adan.kernels import cpu

        if (param, states) not in cpu.SUPPORTED:
            return f"the CPU kernel has no form for {param} parameters with {states} states"
        try:
            cpu.library()
        except KernelUnavailable as error:
            _say(f"no CPU kernel ({error}); stepping with torch's own operations, several times slower")
            return str(error)
        return None
    if device.type == "cuda":
        from adan.kernels import gpu

        reason = gpu.unavailable(device)
        if reason:
            _say(f"no GPU kernel ({reason}); stepping with torch's foreach operations")
        return reason
    return f"there is no kernel for the device {device.type}"


@cache
def _say(text: str) -> None:
    print(f"adan: {text}", file=sys.stderr)


def _parts(group: dict[str, Any], slots: GroupSlots, captured: list[Any]) -> list[_Part]:
    small = _is_small(group)
    members: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for index, (param, slot) in enumerate(zip(slots.params, slots, strict=True)):
        implementation = _choose(group, slot.param, small)
        slots.place_step(index, slot.param.device if implementation == FUSED_GPU else torch.device("cpu"))
        fused = implementation in (FUSED_CPU, FUSED_GPU)
        types = (slot.param.dtype, slot.exp_avg.dtype) if fused else ()
        members[implementation, slot.param.device, sharding(param), *types].append(index)
    how = (group["state_rounding"] == "stochastic", bool(group["fused"] or group["capturable"]), captured)
    kinds: dict[str, type[_Part]] = {FUSED_CPU: _FusedCpu, FUSED_GPU: _FusedGpu}
    return [
        kinds.get(key[0], _Torch)(key[0], key[2], [slots[index] for index in indices], indices, *how)
        for key, indices in members.items()
    ]


class _Part(ABC):
    """Slots of a group that one implementation steps together."""

    def __init__(
        self,
        implementation: str,
        sharding: Any,
        slots: Sequence[Slot],
        indices: list[int],
        stochastic: bool,
        insists: bool,
        captured: list[Any],
    ) -> None:
        self.implementation = implementation
        self.sharding = sharding
        self._slots = slots
        self._indices = indices
        self._stochastic = stochastic
        self._insists = insists
        self._captured = captured

    def find(self, slots: GroupSlots) -> None:
        """Take this step's gradients."""
        slots.give_gradients()

    def gradients(self) -> list[Tensor]:
        return [slot.grad for slot in self._slots]

    def sums_of_squares(self) -> list[tuple[Any, float | Tensor]]:
        return [(self.sharding, sum_of_squares(self.gradients()))]

    @abstractmethod
    def step(self, hyper: Hyperparameters, scaling: Scaling, found_inf: Tensor | None) -> None:
        """Step the slots at their gradients, scaled; see `GroupStep.step`."""


class _Torch(_Part):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._watched = [getattr(slot, name) for slot in self._slots for name in WRITTEN]
        self._checked: Any = None

    def find(self, slots: GroupSlots) -> None:
        super().find(slots)
        forms = list(map(_form, self._watched))
        if forms != self._checked:
            for slot in self._slots:
                check_states(slot, slot.step.device)
            self._checked = forms

    @torch.no_grad()
    def step(self, hyper: Hyperparameters, scaling: Scaling, found_inf: Tensor | None) -> None:
        update = foreach if self.implementation == FOREACH else single_tensor
        update(self._slots, scaling.factor(hyper), hyper, self._stochastic)


class _FusedCpu(_Part):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        from adan.kernels.cpu import Table

        self._table = Table(self._slots, self._stochastic)

    def find(self, slots: GroupSlots) -> None:
        grads = slots.grads
        if len(grads) != len(self._indices):
            grads = [grads[index] for index in self._indices]
        self._table.find(grads, slots.contiguous)

    def sums_of_squares(self) -> list[tuple[Any, float | Tensor]]:
        return [(self.sharding, self._table.sum_of_squares())]

    def step(self, hyper: Hyperparameters, scaling: Scaling, found_inf: Tensor | None) -> None:
        self._table.step(hyper, float(scaling.factor(hyper)))


class _FusedGpu(_Part):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        from adan.kernels.gpu import Launcher

        self._launcher = Launcher(self._captured)
        self._compiles = True
        self._contiguous = False

    def find(self, slots: GroupSlots) -> None:
        super().find(slots)
        tensors = (getattr(slot, name) for slot in self._slots for name in WRITTEN)
        self._contiguous = slots.contiguous and all(map(Tensor.is_contiguous, tensors))
        # Gradients more precise than their parameter (`grad_dtype` of torch) stay so in torch's operations.
        same_types = all(slot.grad.dtype is slot.param.dtype for slot in self._slots)
        self.implementation = FUSED_GPU if self._compiles and same_types else FOREACH

    def sums_of_squares(self) -> list[tuple[Any, float | Tensor]]:
        return [] if self.implementation == FUSED_GPU else super().sums_of_squares()

    def step(self, hyper: Hyperparameters, scaling: Scaling, found_inf: Tensor | None) -> None:
        if self.implementation == FUSED_GPU:
            try:
                self._launch(hyper, scaling, found_inf)
                return
            except KernelUnavailable as error:
                if self._insists:
                    raise
                _say(f"no GPU kernel ({error}); stepping with torch's foreach operations")
                self._compiles, self.implementation = False, FOREACH
        if found_inf is None or not found_inf.item():
            with torch.no_grad():
                foreach(self._slots, scaling.factor(hyper), hyper, self._stochastic)

    def _launch(self, hyper: Hyperparameters, scaling: Scaling, found_inf: Tensor | None) -> None:
        device, slots, copies = self._slots[0].param.device, list(self._slots), list[tuple[Tensor, Tensor]]()
        if not self._contiguous:
            slots, copies = lay_out(slots, self.gradients(), slots[0].param.dtype)
        clips = hyper.max_grad_norm > 0
        self._launcher.step(
            slots,
            lr=hyper.lr,
            betas=hyper.betas,
            eps=hyper.eps,
            weight_decay=hyper.weight_decay,
            no_prox=hyper.no_prox,
            scale=_there(scaling.unscale, device),
            squares=_there(scaling.squares, device) if clips else None,
            max_grad_norm=hyper.max_grad_norm,
            found_inf=_there(found_inf, device),
            stochastic=self._stochastic,
        )
        copy_back(copies)


def _there(factor: float | Tensor | None, device: torch.device) -> Tensor | None:
    """A factor where the kernel reads it, None for one that changes nothing. Nobody waits for anything to be copied."""
    if isinstance(factor, Tensor):
        return factor.to(device, non_blocking=True)
    return None if factor is None or factor == 1.0 else torch.full((), factor, dtype=torch.float64, device=device)
