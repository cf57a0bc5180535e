"""Adan's step on a CPU by the C++ kernel in `cpu.cpp`: one call for all tensors of a group and type."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from itertools import repeat
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from adan.kernels.compilation import library
from adan.layout import WRITTEN, copy_back, lay_out
from adan.slots import MOMENTS, Slot
from adan.update import Hyperparameters, compute_dtype

# (parameters, states): for each the library has a function.
SUPPORTED = {
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
    (torch.bfloat16, torch.float32),
    (torch.float32, torch.bfloat16),
    (torch.bfloat16, torch.bfloat16),
}
# Waking a thread takes about as long as stepping this many elements.
ELEMENTS_PER_THREAD = 1 << 15
ONE_THREAD = ctypes.c_int64(1)

_dtype, _nbytes = attrgetter("dtype"), attrgetter("nbytes")


ADDRESSES = (*WRITTEN, "step")


class _Entry(ctypes.Structure):
    """`Entry` of cpu.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ADDRESSES),
        *((name, ctypes.c_int64) for name in ("elements", "first", "number")),
    ]


class _Hyper(ctypes.Structure):
    """`Hyper` of cpu.cpp."""

    _fields_ = [
        *((name, ctypes.c_double) for name in ("lr", "beta1", "beta2", "beta3", "eps", "weight_decay", "scale")),
        *((name, ctypes.c_int64) for name in ("no_prox", "stochastic")),
    ]


class Table:
    """Slots of one type on the CPU, with the addresses of their tensors as the kernel wants them.

    Addresses are kept as long as they stand. What has moved is noticed by addresses, and other
    strides of a parameter by those of its gradient, which autograd lays out in the same way. Tensors that are not
    laid out as their states (a gradient in another memory format, a parameter that is a view with gaps) are copied
    for the time of the step. Raises KernelUnavailable where the kernel cannot be built.
    """

    def __init__(self, slots: Sequence[Slot], stochastic: bool) -> None:
        self._slots = slots
        self._params = [slot.param for slot in slots]
        self._dtypes = (slots[0].param.dtype, slots[0].exp_avg.dtype)
        self._step: Any = None
        self._sum_of_squares: Any = None
        self._hyper = _Hyper(stochastic=stochastic)
        self._hyper_address = ctypes.byref(self._hyper)
        self._count = ctypes.c_int64(len(slots))
        self._given: Hyperparameters | None = None
        self._entries = (_Entry * len(slots))()
        self._grads = (ctypes.c_void_p * len(slots))()
        self._nbytes: list[int] = []
        self._elements = 0
        # Everything, for one tensor alone may be moved by its `data`.
        self._watched = [*self._params, *(getattr(slot, name) for slot in slots for name in (*MOMENTS, "step"))]
        self._addresses: list[int] = []
        self._of_one_element: list[int] = []
        self._copies: list[tuple[Tensor, Tensor]] = []
        self._laid_out: list[Slot] = []  # held for the time of a step, like the copies among them
        self._storages: list[torch.UntypedStorage] = []

    def find(self, grads: list[Tensor], contiguous: bool) -> None:
        """Take the gradients of this step, in the order of the slots; `contiguous` says whether all of them are."""
        if (
            contiguous
            and list(map(Tensor.data_ptr, self._watched)) == self._addresses
            and list(map(_nbytes, grads)) == self._nbytes
            and (self._dtypes[0].itemsize > 2 or all(map(is_, map(_dtype, grads), repeat(self._dtypes[0]))))
            # Autograd leaves a negated view where it is contiguous: the imaginary part of one conjugate number.
            and not any([grads[index].is_neg() for index in self._of_one_element])
        ):
            self._grads[:] = list(map(Tensor.data_ptr, grads))
        else:
            self._find_anew(grads)

    def _find_anew(self, grads: list[Tensor]) -> None:
        """`find` for new addresses and any layout and type."""
        param_dtype, states_dtype = self._dtypes
        if changed := {param.dtype for param in self._params} - {param_dtype}:
            raise RuntimeError(
                f"a parameter has changed its type from {param_dtype} to {changed.pop()}: "
                "load_state_dict(state_dict()) fits an optimizer to that"
            )
        if self._dtypes not in SUPPORTED:
            raise RuntimeError(
                f"the state 'exp_avg' of a parameter in {param_dtype} is in {states_dtype}, for which the CPU kernel "
                "has no form: load_state_dict(state_dict()) fits states to parameters"
            )
        same_types = all(map(is_, map(_dtype, grads), repeat(param_dtype)))
        # Gradients may be more precise than their parameter (`grad_dtype` of torch); no one less precise suffers here.
        grad_dtype = compute_dtype(self._params[0]) if not same_types else param_dtype
        types = "_".join(map(_name, (param_dtype, grad_dtype, states_dtype)))
        self._step = _function(f"adan_step_{types}", None)
        self._sum_of_squares = _function(f"adan_sum_of_squares_{_name(grad_dtype)}", ctypes.c_double)
        self._laid_out, self._copies = slots, copies = lay_out(self._slots, grads, grad_dtype)
        self._grads[:] = [slot.grad.data_ptr() for slot in slots]
        self._nbytes = [slot.param.nbytes for slot in slots]
        # Left empty, these match nothing, and the next step comes here again.
        contiguous = all(getattr(slot, name).is_contiguous() for slot in slots for name in WRITTEN)
        standing = contiguous and same_types and not copies
        self._addresses = list(map(Tensor.data_ptr, self._watched)) if standing else []
        # Held, so that addresses that are not watched are never those of freed memory.
        self._storages = [getattr(slot, name).untyped_storage() for slot in self._slots for name in (*MOMENTS, "step")]
        self._of_one_element = [index for index, param in enumerate(self._params) if param.numel() == 1]
        first = 0
        for entry, slot in zip(self._entries, slots, strict=True):
            for name in ADDRESSES:
                setattr(entry, name, getattr(slot, name).data_ptr())
            entry.elements, entry.number, entry.first = slot.param.numel(), slot.number, first
            first += entry.elements
        self._elements = first

    def sum_of_squares(self) -> float:
        """Sum the squares of all gradients, in double precision and in an order that does not depend on the threads."""
        return self._sum_of_squares(self._entries, self._grads, self._count, self._threads())

    def step(self, hyper: Hyperparameters, scale: float) -> None:
        """Step all slots at the gradients found, times `scale`, and count the step."""
        if hyper is not self._given:
            self._hyper.lr, self._hyper.eps, self._hyper.weight_decay = float(hyper.lr), hyper.eps, hyper.weight_decay
            self._hyper.beta1, self._hyper.beta2, self._hyper.beta3 = hyper.betas
            self._hyper.no_prox, self._given = hyper.no_prox, hyper
        self._hyper.scale = scale
        self._step(self._entries, self._grads, self._count, self._threads(), self._hyper_address)
        if self._laid_out:
            copy_back(self._copies)
            self._laid_out, self._copies = [], []
        # Autograd must learn that the parameters have changed, or a stale graph would be differentiated silently.
        torch.autograd.graph.increment_version(self._params)

    def _threads(self) -> ctypes.c_int64:
        if self._elements < 2 * ELEMENTS_PER_THREAD:
            return ONE_THREAD
        return ctypes.c_int64(min(torch.get_num_threads(), self._elements // ELEMENTS_PER_THREAD))


@cache
def _function(name: str, result: Any) -> Any:
    function = library()[name]
    function.restype = result
    return function


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
