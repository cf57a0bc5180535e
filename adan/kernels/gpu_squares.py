"""The sum of the squares of any number of tensors on a GPU, by the Triton kernels in `gpu_triton`.

One launch for each type of tensors sums chunks, a last one sums these: two for a model of one type, however many
parameter groups it has. Squares of less than fp64 are exact and all sums are fp64, in an order that the tensors alone
determine: the same bits every time. Tables of addresses, streams and CUDA graphs as in `adan.kernels.gpu`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from adan.kernels.gpu import BLOCKS_PER_PROGRAM, BYTES_PER_THREAD, NUM_WARPS, Kept, Launch, chunks, options, sent

READABLE = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
LANES = 4096  # of the last launch: partial sums at a time


def readable(tensor: Tensor) -> bool:
    """Whether the kernel can read a tensor on its device: its type is known, its elements fill their memory."""
    dense = tensor.is_contiguous() or torch.empty_like(tensor, device="meta").stride() == tensor.stride()
    return tensor.dtype in READABLE and dense


class SumOfSquares:
    """Sums the squares of all elements of tensors. Keeps tables on the device between calls, and `captured` ones, as
    `adan.kernels.gpu.Launcher`."""

    def __init__(self, captured: list[Any] | None = None) -> None:
        self._tables: Kept[_Tables] = Kept([] if captured is None else captured)

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum over `tensors` (at least one, all `readable` and on one device), 0-dim fp64 on the device, which the
        next call overwrites.

        Raises:
            KernelUnavailable: the kernel could not be compiled.
            RuntimeError: a CUDA graph is being captured and the kernel is not loaded yet.
        """
        device = tensors[0].device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            launches, total = self.launches(tensors)
            for launch in launches:
                launch.compile_once(device)
            for launch in launches:
                launch.run()
        return total

    def launches(self, tensors: Sequence[Tensor]) -> tuple[list[Launch], Tensor]:
        """What a call runs, and where it leaves the sum."""
        contents = [(tensor.data_ptr(), tensor.numel(), tensor.dtype) for tensor in tensors]
        device = tensors[0].device
        tables = self._tables(contents, device, lambda: _Tables(contents, device))
        return tables.launches, tables.total


class _Tables:
    """The launches over tensors of these addresses, elements and types, and the memory that they use."""

    def __init__(self, contents: Sequence[tuple[int, int, torch.dtype]], device: torch.device) -> None:
        from adan.kernels import gpu_triton as kernels

        parts: defaultdict[torch.dtype, list[tuple[int, int]]] = defaultdict(list)
        for address, length, dtype in contents:
            parts[dtype].append((address, length))
        blocks = {dtype: 32 * NUM_WARPS * BYTES_PER_THREAD // dtype.itemsize for dtype in parts}
        cut = {
            dtype: chunks([length for _, length in part], blocks[dtype] * BLOCKS_PER_PROGRAM)
            for dtype, part in parts.items()
        }
        count = sum(number for _, number in cut.values())
        sums = torch.empty(max(count, 1), dtype=torch.float64, device=device)
        self.total = torch.empty((), dtype=torch.float64, device=device)
        self.launches: list[Launch] = []
        self._pinned: list[Tensor] = []
        begun = 0
        for dtype, part in parts.items():
            firsts, number = cut[dtype]
            if number == 0:
                continue
            addresses, lengths = zip(*part, strict=True)
            pinned, table = sent([*addresses, *lengths, *firsts], device)
            self._pinned.append(pinned)
            constants = (kernels.triton_type(dtype), blocks[dtype], BLOCKS_PER_PROGRAM, 32 * NUM_WARPS)
            arguments: tuple[Any, ...] = (table, sums[begun:], len(part), *constants)
            self.launches.append(Launch(kernels.squares, number, arguments, options(NUM_WARPS), (dtype,)))
            begun += number
        self.launches.append(Launch(kernels.total, 1, (sums, self.total, count, LANES), options(NUM_WARPS), ()))
