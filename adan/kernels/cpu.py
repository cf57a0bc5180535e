"""Adan's step on a CPU by the C++ kernel in `cpu.cpp`: one call for all tensors of a group and type."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from operator import attrgetter, eq

import torch
from torch import Tensor

from adan.kernels.compilation import library
from adan.slots import MOMENTS, Slot
from adan.update import Hyperparameters

# (parameters and gradients, states): for each the library has a function.
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


ADDRESSES = ("param", *MOMENTS, "step")


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

    Addresses are kept as long as they stand. Tensors that are not laid out as their states (a gradient in another
    memory format, a parameter that is a view with gaps) are copied for the time of the step. Raises
    KernelUnavailable where the kernel cannot be built.
    """

    def __init__(self, slots: Sequence[Slot], stochastic: bool) -> None:
        self._slots = slots
        self._params = [slot.param for slot in slots]
        self._dtypes = (slots[0].param.dtype, slots[0].exp_avg.dtype)
        self._step = getattr(library(), f"adan_step_{_name(slots[0].param)}_{_name(slots[0].exp_avg)}")
        self._step.argtypes, self._step.restype = None, None
        self._sum_of_squares = getattr(library(), f"adan_sum_of_squares_{_name(slots[0].param)}")
        self._sum_of_squares.restype = ctypes.c_double
        self._hyper = _Hyper(stochastic=stochastic)
        self._hyper_address = ctypes.byref(self._hyper)
        self._count = ctypes.c_int64(len(slots))
        self._given: Hyperparameters | None = None
        self._entries = (_Entry * len(slots))()
        self._grads = (ctypes.c_void_p * len(slots))()
        self._nbytes: list[int] = []
        self._elements = 0
        self._addresses: list[int] = []
        self._of_one_element: list[int] = []
        self._copies: list[tuple[Tensor, Tensor]] = []
        self._laid_out_grads: list[Tensor] = []
        self._storages: list[torch.UntypedStorage] = []

    def find(self, grads: list[Tensor], contiguous: bool) -> None:
        """Take the gradients of this step, in the order of the slots; `contiguous` says whether all of them are."""
        if (
            contiguous
            and list(map(Tensor.data_ptr, self._params)) == self._addresses
            and list(map(_nbytes, grads)) == self._nbytes
            # Autograd leaves a negated view where it is contiguous: the imaginary part of one conjugate number.
            and not any([grads[index].is_neg() for index in self._of_one_element])
        ):
            self._grads[:] = list(map(Tensor.data_ptr, grads))
        else:
            self._find_anew(grads)

    @torch.no_grad()
    def _find_anew(self, grads: list[Tensor]) -> None:
        """`find` for new addresses and any layout: what does not lie as the first state does is copied so.

        Raises RuntimeError where parameters or states have become what the kernel would misread.
        """
        for slot in self._slots:
            self._check(slot)
        self._copies = []  # of a step that was not made
        written, contiguous = [], True
        for slot in self._slots:
            layout = _dense(slot.exp_avg)
            tensors = [_laid_out(tensor, layout) for tensor in _written(slot)]
            originals = zip(_written(slot), tensors, strict=True)
            self._copies += [(original, copy) for original, copy in originals if original is not copy]
            contiguous &= all(tensor.is_contiguous() for tensor in tensors)
            written.append(tensors)
        self._laid_out_grads = [
            _laid_out(grad.to(tensors[0].dtype), tensors[0]) for grad, tensors in zip(grads, written, strict=True)
        ]
        self._grads[:] = [grad.data_ptr() for grad in self._laid_out_grads]
        self._nbytes = [param.nbytes for param in self._params]
        # Left empty, these match nothing, and the next step comes here again.
        same_types = all(map(eq, map(_dtype, grads), map(_dtype, self._params)))
        standing = contiguous and same_types and not self._copies
        self._addresses = list(map(Tensor.data_ptr, self._params)) if standing else []
        first = 0
        for entry, slot, tensors in zip(self._entries, self._slots, written, strict=True):
            for name, tensor in zip(ADDRESSES, (*tensors, slot.step), strict=True):
                setattr(entry, name, tensor.data_ptr())
            entry.elements, entry.number, entry.first = slot.param.numel(), slot.number, first
            first += entry.elements
        self._elements = first
        self._of_one_element = [index for index, slot in enumerate(self._slots) if slot.param.numel() == 1]
        # Whatever becomes of the `data` of a state, its address here is never one of freed memory.
        self._storages = [t.untyped_storage() for slot in self._slots for t in (*_written(slot)[1:], slot.step)]

    def _check(self, slot: Slot) -> None:
        shape, dtype = tuple(slot.param.shape), slot.param.dtype
        if slot.param.shape != slot.exp_avg.shape:
            shapes = f"{shape}, its states {tuple(slot.exp_avg.shape)}"
            raise RuntimeError(f"a parameter has changed its shape: it has {shapes}; make a new optimizer")
        param_dtype, state_dtype = self._dtypes
        if dtype != param_dtype:
            raise RuntimeError(
                f"a parameter of shape {shape} has changed its type from {param_dtype} to {dtype}; "
                "load_state_dict(state_dict()) fits an optimizer to that"
            )
        expected = {**dict.fromkeys(MOMENTS, (state_dtype, shape)), "step": (torch.float32, ())}
        for name, (wanted, extent) in expected.items():
            found = getattr(slot, name)
            if (found.dtype, tuple(found.shape), found.device.type) != (wanted, extent, "cpu"):
                raise RuntimeError(
                    f"state {name!r} of a parameter of shape {shape} must be a {wanted} tensor of shape {extent} on "
                    f"the CPU, not {found.dtype} of shape {tuple(found.shape)} on {found.device}"
                )

    def sum_of_squares(self) -> float:
        """Of all gradients, in double precision and in an order that does not depend on the threads."""
        return self._sum_of_squares(self._entries, self._grads, self._count, self._threads())

    def step(self, hyper: Hyperparameters, scale: float) -> None:
        """Step all slots at the gradients found, times `scale`, and count the step."""
        if hyper is not self._given:
            self._hyper.lr, self._hyper.eps, self._hyper.weight_decay = float(hyper.lr), hyper.eps, hyper.weight_decay
            self._hyper.beta1, self._hyper.beta2, self._hyper.beta3 = hyper.betas
            self._hyper.no_prox, self._given = hyper.no_prox, hyper
        self._hyper.scale = scale
        self._step(self._entries, self._grads, self._count, self._threads(), self._hyper_address)
        if self._copies:
            with torch.no_grad():
                for original, copy in self._copies:
                    original.copy_(copy)
            self._copies = []
        self._laid_out_grads = []
        # Autograd must learn that the parameters have changed, or a stale graph would be differentiated silently.
        torch.autograd.graph.increment_version(self._params)

    def _threads(self) -> ctypes.c_int64:
        if self._elements < 2 * ELEMENTS_PER_THREAD:
            return ONE_THREAD
        return ctypes.c_int64(min(torch.get_num_threads(), self._elements // ELEMENTS_PER_THREAD))


def _written(slot: Slot) -> list[Tensor]:
    """What the kernel writes, in the order of an `_Entry`."""
    return [slot.param, *(getattr(slot, name) for name in MOMENTS)]


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _dense(tensor: Tensor) -> Tensor:
    """`tensor` if its elements fill their memory without gaps, else a contiguous copy."""
    return tensor if torch.empty_like(tensor, device="meta").stride() == tensor.stride() else tensor.contiguous()


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` if its elements lie in memory in the order of those of `like`, as they are, else a copy that does."""
    if _strides(tensor) == _strides(like) and not tensor.is_neg():
        return tensor
    return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)


def _strides(tensor: Tensor) -> list[int]:
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
