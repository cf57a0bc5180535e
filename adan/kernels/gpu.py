"""Adan's step on a GPU by the Triton kernels in `gpu_triton`: one pass over memory, and the host never waits.

A step is two launches for each pair of types (parameters, states) of a group: a tiny one that counts steps and
computes coefficients, the clip factor among them, and one over all elements. The kernels find the tensors in a table of
addresses on the device, made anew when an address changes.

*Refresh*: a table is never overwritten. A new one is copied from pinned memory that torch's allocator gives to nobody
else before the copy is done; the old one returns to torch's caching allocator, which gives it out again in the order of
the stream. A table is therefore used only on the stream on which it was made.

*CUDA graphs*: step once before the capture, with the same kind of arguments: nothing can be compiled or loaded during
it. A captured step uses the table of the step before where nothing has moved since. Otherwise (gradients in the
graph's own memory) it gets one of its own, whose copy from pinned memory each replay repeats. Either lives as long as
the optimizer, which must outlive the graph. A learning rate that is to change between replays must be a
tensor on the device.

Importing this module does not import triton. Compilation happens at the first step, takes a second or two, and is kept
in Triton's own cache on disk.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from adan.kernels.compilation import KernelUnavailable
from adan.slots import Slot

Table = TypeVar("Table")

# (parameters and gradients, states).
SUPPORTED = {
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float32),
    (torch.float32, torch.bfloat16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.bfloat16),
}

# To tune. Not measured yet: chosen from the code generated for sm_80 and sm_90, where 64 registers a thread spill
# nothing and leave four programs to a multiprocessor, with about 96 KiB of loads under way (an H200 needs about 40).
NUM_WARPS = 8
BYTES_PER_THREAD = 16  # of each fp32 or fp64 tensor at a time: the widest load there is
BLOCKS_PER_PROGRAM = 4
MAX_REGISTERS = 64
LANES = 128  # tensors per program of the first kernel

MINIMUM_CAPABILITY = (8, 0)  # Triton's own
SECONDS_BEFORE_TELLING = 0.2  # reading a kernel from Triton's cache takes a tenth of that

# In the order of the table's rows.
_TENSORS = tuple(map(attrgetter, ("param", "grad", "exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad", "step")))
_number = attrgetter("number")


def unavailable(device: torch.device) -> str | None:
    """Why the kernel cannot run on `device`, or None if it can (as far as can be told without compiling it)."""
    wanted = "cpu" if _interpreting() else "cuda"
    if device.type != wanted:
        why = " while TRITON_INTERPRET is set" if _interpreting() else ""
        return f"the Triton kernel runs on {wanted} devices{why}, not on {device.type}"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (it comes with torch's builds for CUDA)"
    if _interpreting():
        return None
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < MINIMUM_CAPABILITY:
        name, (major, minor) = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        return f"Triton needs compute capability {MINIMUM_CAPABILITY[0]}.0, {name} has {major}.{minor}"
    return None


class Launcher:
    """Steps one parameter group on one device. Keeps tables on the device between steps: not to be pickled.

    Those that graphs use are put into `captured`, too, for whoever lives as long as they.
    """

    def __init__(self, captured: list[Any] | None = None) -> None:
        kept: Callable[[], Kept[_Table]] = partial(Kept, [] if captured is None else captured)
        self._tables: defaultdict[tuple[torch.dtype, torch.dtype], Kept[_Table]] = defaultdict(kept)

    def step(
        self,
        slots: Sequence[Slot],
        *,
        lr: float | Tensor,
        betas: tuple[float, float, float],
        eps: float,
        weight_decay: float,
        no_prox: bool,
        scale: Tensor | None = None,
        squares: Tensor | None = None,
        max_grad_norm: float = 0.0,
        found_inf: Tensor | None = None,
        stochastic: bool = False,
    ) -> None:
        """Count and make one step of `slots`, all on one device, whatever their types.

        The tensors of a slot have no gaps and equal strides, the gradient has the parameter's type, and `step` is a
        0-dim fp32 tensor on the device. `scale` (0-dim, on the device) multiplies the gradients on the fly; with
        `squares` (same, fp64), the sum of the squares of all gradients as they are, these are then clipped to a norm of
        `max_grad_norm`. If `found_inf` (same) is not zero, nothing changes. `stochastic` says how moments in bf16 are
        rounded (see `adan.rounding`); the previous gradient is rounded to nearest. A learning rate in a tensor is read
        on the device, unless it is on the CPU.

        Raises:
            KernelUnavailable: the kernel could not be compiled; nothing has changed.
            RuntimeError: a CUDA graph is being captured and the kernel is not loaded yet.
            TypeError: a pair of types that is not in `SUPPORTED`.
        """
        if not slots:
            return
        device = slots[0].param.device
        clipping = (scale, squares, max_grad_norm)
        arguments = prepare_arguments(lr, betas, eps, weight_decay, *clipping, found_inf, no_prox, device)
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            launches = self.launches(slots, arguments, stochastic)
            for launch in launches:  # all before the first one runs: a failure leaves everything as it was
                launch.compile_once(device)
            for launch in launches:
                launch.run()
        torch.autograd.graph.increment_version([slot.param for slot in slots])

    def launches(self, slots: Sequence[Slot], arguments: tuple[Any, ...], stochastic: bool) -> list[Launch]:
        """Return what a step of `slots` runs; `arguments` as `prepare_arguments` makes them."""
        parts: defaultdict[tuple[torch.dtype, torch.dtype], list[Slot]] = defaultdict(list)
        for slot in slots:
            parts[slot.param.dtype, slot.exp_avg.dtype].append(slot)
        if wrong := parts.keys() - SUPPORTED:
            known = "; ".join(f"{_name(param)} with {_name(state)}" for param, state in sorted(SUPPORTED, key=str))
            param, state = next(iter(wrong))
            raise TypeError(f"no kernel for {_name(param)} parameters with {_name(state)} states; there are: {known}")
        tables = [self._table(dtypes, part) for dtypes, part in parts.items()]
        return [launch for table in tables for launch in table.launches(arguments, stochastic)]

    def _table(self, dtypes: tuple[torch.dtype, torch.dtype], slots: list[Slot]) -> _Table:
        """The table of `slots` for the stream in use: that of the last step where nothing has moved."""
        device = slots[0].param.device
        contents = [
            *chain.from_iterable(map(Tensor.data_ptr, map(tensor, slots)) for tensor in _TENSORS),
            *(slot.param.numel() for slot in slots),
            *map(_number, slots),
        ]
        return self._tables[dtypes](contents, device, lambda: _Table(contents, dtypes, device))


class Kept(Generic[Table]):
    """The last table of addresses, made anew where its contents are to be others, or the stream is another. Tables that
    graphs use are put into `captured`."""

    def __init__(self, captured: list[Any]) -> None:
        self._last: tuple[Any, int, Table] | None = None
        self._captured = captured

    def __call__(self, contents: Any, device: torch.device, make: Callable[[], Table]) -> Table:
        """The table that `make` makes of `contents`, or made of the same ones."""
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
        same = self._last is not None and self._last[0] == contents
        if _capturing(device):
            # A capture begins when all that was asked for is done, on whichever stream.
            table = self._last[2] if same and self._last is not None else make()
            if not any(table is kept for kept in self._captured):
                self._captured.append(table)
            return table
        if self._last is None or not same or self._last[1] != stream:
            self._last = (contents, stream, make())
        return self._last[2]


class _Table:
    """Holds what the kernels need on the device to step tensors of one pair of types; `gpu_triton` has the rows."""

    def __init__(self, contents: list[int], dtypes: tuple[torch.dtype, torch.dtype], device: torch.device) -> None:
        from adan.kernels import gpu_triton as kernels

        self._dtypes = dtypes
        compute = torch.float64 if dtypes[0] is torch.float64 else torch.float32
        self._block = 32 * NUM_WARPS * BYTES_PER_THREAD // compute.itemsize
        self._count = count = len(contents) // (kernels.TABLE_ROWS - 1)
        elements, numbers = contents[-2 * count : -count], contents[-count:]
        chunk = self._block * BLOCKS_PER_PROGRAM
        firsts, self._chunks = chunks(elements, chunk)
        self._pinned, self._table = sent([*contents[:-count], *firsts, *numbers], device)
        self._coefficients = torch.empty(kernels.COEFFICIENT_ROWS * count, dtype=compute, device=device)
        self._flags = torch.empty(kernels.FLAG_ROWS * count, dtype=torch.int32, device=device)

    def launches(self, arguments: tuple[Any, ...], stochastic: bool) -> list[Launch]:
        """The launches of a step; `arguments` as `prepare_arguments` makes them."""
        from adan.kernels import gpu_triton as kernels

        arrays = (self._table, self._coefficients, self._flags, self._count)
        compute = self._coefficients.dtype
        kinds = (compute, *map(_kind, arguments))
        programs = -(-self._count // LANES)
        launches = [Launch(kernels.prepare, programs, (*arrays, *arguments, LANES), options(4), kinds)]
        if self._chunks > 0:
            stochastic = stochastic and self._dtypes[1] is torch.bfloat16
            types = map(kernels.triton_type, self._dtypes)
            constants = (*types, stochastic, self._block, BLOCKS_PER_PROGRAM, 32 * NUM_WARPS)
            how = options(NUM_WARPS, MAX_REGISTERS if compute is torch.float32 else None)
            kinds = (*self._dtypes, stochastic)
            launches.append(Launch(kernels.update, self._chunks, (*arrays, *constants), how, kinds))
        return launches


@dataclass(frozen=True)
class Launch:
    """One call of a kernel on `programs` programs. `kinds` tells apart what Triton compiles apart."""

    kernel: Any
    programs: int
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    kinds: tuple[Any, ...]

    _compiled: ClassVar[set[Any]] = set()

    def run(self) -> None:
        self.kernel[(self.programs,)](*self.arguments, **self.options)

    def compile_once(self, device: torch.device) -> None:
        """Compile the kernel for arguments of these kinds, if this process has not yet done so; run nothing."""
        variant = (self.kernel, device, *self.kinds)
        if variant in self._compiled or _interpreting():
            return
        if _capturing(device):
            raise RuntimeError(
                "Adan's GPU kernel cannot be loaded while a CUDA graph is captured: make one step before the capture, "
                "with parameters of the same types and the same kind of learning rate, clipping and gradient scaler"
            )
        try:
            with _telling():
                compiled = self.kernel.warmup(*self.arguments, grid=(self.programs,), **self.options)
                _ = compiled.run  # a property: loads it onto the device
        except Exception as error:
            raise KernelUnavailable(f"Triton cannot compile Adan's GPU kernel for {device}: {error!r}") from error
        self._compiled.add(variant)


def chunks(elements: Sequence[int], size: int) -> tuple[list[int], int]:
    """The first chunk of each tensor of so many elements, cut into chunks of `size`, and how many there are in all."""
    ends = list(accumulate(-(-count // size) for count in elements))
    return [0, *ends[:-1]], ends[-1]


def sent(values: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """`values` (int64) in pinned memory, and on the device, for which nobody waits. The first must live as long as the
    second: where the copy is captured, every replay reads it again."""
    pinned = torch.tensor(values, dtype=torch.int64, pin_memory=device.type == "cuda")
    return pinned, pinned.to(device, non_blocking=True)


def prepare_arguments(
    lr: float | Tensor,
    betas: tuple[float, float, float],
    eps: float,
    weight_decay: float,
    scale: Tensor | None,
    squares: Tensor | None,
    max_grad_norm: float,
    found_inf: Tensor | None,
    no_prox: bool,
    device: torch.device,
) -> tuple[Any, ...]:
    """The arguments of `gpu_triton.prepare` between the arrays and LANES."""
    if isinstance(lr, Tensor) and lr.device.type == "cpu" != device.type:
        lr = lr.item()
    rate = (0.0, lr.to(device, non_blocking=True)) if isinstance(lr, Tensor) else (float(lr), None)
    logarithms = [math.log(beta) if beta > 0 else -math.inf for beta in betas]
    numbers = [float(number) for pair in zip(betas, logarithms, strict=True) for number in pair]
    factors = (scale, squares, float(max_grad_norm))
    return (*rate, *numbers, float(eps), float(weight_decay), *factors, found_inf, bool(no_prox))


def options(num_warps: int, max_registers: int | None = None) -> dict[str, Any]:
    """Return the options that make Triton compile operation by operation as IEEE has it, so that the bits are always
    the same."""
    options = {"num_warps": num_warps, "enable_fp_fusion": False}
    if max_registers is not None and torch.version.hip is None:
        options["maxnreg"] = max_registers
    return options


def _kind(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.dtype
    return float if isinstance(argument, float) else argument


def _capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _interpreting() -> bool:
    """Whether Triton runs kernels on the CPU, operation by operation, as tests without a GPU do."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on")


@contextmanager
def _telling() -> Iterator[None]:
    """Tell the user what takes so long, if it does: a kernel that Triton has in its cache is there at once."""
    line = "adan: compiling the GPU kernel (Triton; kept in its cache, so once a machine) ..."
    timer = threading.Timer(SECONDS_BEFORE_TELLING, print, (line,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
