"""What gradients are multiplied with: the clip factor by the norm over all of them, also where a process holds only a
part, and the inverse of a gradient scaler's scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from adan.kernels.compilation import KernelUnavailable
from adan.slots import is_sharded
from adan.update import Hyperparameters, compute_dtype


@dataclass(frozen=True)
class Scaling:
    """What one step of all groups multiplies gradients with: `unscale`, the inverse of a gradient scaler's scale, and
    what clips them by `squares`, the sum of the squares of all as they are, scaled (None where no group clips)."""

    unscale: float | Tensor
    squares: float | Tensor | None

    def factor(self, hyper: Hyperparameters) -> float | Tensor:
        """The factor of the gradients of one group. `gpu_triton.prepare` does the same."""
        if self.squares is None or not hyper.max_grad_norm > 0:
            return self.unscale
        clip = hyper.max_grad_norm / (self.squares**0.5 * self.unscale + hyper.eps)
        # Written so that a norm that is NaN makes everything NaN, as it should: min(1.0, nan) is 1.0.
        return self.unscale * (clip.clamp(max=1.0) if isinstance(clip, Tensor) else 1.0 if clip > 1.0 else clip)


def sum_of_squares(grads: Sequence[Tensor]) -> Tensor:
    """Sum the squares of all elements of `grads` (at least one, of one device) into a 0-dim tensor. The device is never
    waited for.

    Gradients in half precision are summed in fp32; the norms of tensors are put together in fp64, where it exists.
    """
    by_dtype: defaultdict[torch.dtype, list[Tensor]] = defaultdict(list)
    for grad in grads:
        by_dtype[compute_dtype(grad)].append(grad)
    norms = [torch.stack(torch._foreach_norm(part, 2, dtype)) for dtype, part in by_dtype.items()]
    return torch.cat([part.to(_widest(part.device)) for part in norms]).square().sum()


class SumsOnGpus:
    """Sums of squares by the GPU kernel, over all groups at once. What it cannot read `sum_of_squares` sums.

    What graphs need of it is put into `captured`.
    """

    def __init__(self, captured: list[Any]) -> None:
        self._captured = captured
        self._kernels: dict[tuple[Any, torch.device], Any] = {}
        self._compiles = True

    def __call__(self, parts: Iterable[tuple[Any, list[Tensor]]]) -> list[tuple[Any, Tensor]]:
        """(sharding, sum) of parts (sharding, gradients on one device): a sum for each sharding and device."""
        together: defaultdict[tuple[Any, torch.device], list[Tensor]] = defaultdict(list)
        for sharding, grads in parts:
            together[sharding, grads[0].device] += grads
        return [(key[0], part) for key, grads in together.items() for part in self._sums(key, grads)]

    def _sums(self, key: tuple[Any, torch.device], grads: list[Tensor]) -> list[Tensor]:
        from adan.kernels.gpu_squares import SumOfSquares, readable

        if self._compiles:
            can = list(map(readable, grads))
            read, others = list(compress(grads, can)), list(compress(grads, map(not_, can)))
            try:
                sums = [self._kernels.setdefault(key, SumOfSquares(self._captured))(read)] if read else []
                return sums + ([sum_of_squares(others)] if others else [])
            except KernelUnavailable:  # which the step will say, or refuse
                self._compiles = False
        return [sum_of_squares(grads)]


class ShardedSum:
    """Adds up sums of squares, over groups and over the processes that hold other shards of the same tensors.

    DTensors (FSDP2) name these processes by their mesh: sums over it where a tensor is sharded, not where it is
    replicated. For an optimizer that sees only some of the parameters (ZeroRedundancyOptimizer), `norm_group` is the
    process group over which the rest is found. All processes of either must step together; one without any
    gradient takes part with zero.
    """

    def __init__(self, params: Iterable[Tensor]) -> None:
        params = list(params)
        # In the order of the parameters, which is the same on every rank, whichever of them have gradients.
        self._shardings = list(dict.fromkeys(map(sharding, params)))
        self._device = params[0].device if params else None

    def __call__(self, parts: Iterable[tuple[Any, float | Tensor]], norm_group: Any) -> float | Tensor:
        """Total of (sharding, sum of squares); a Python number where nothing is on an accelerator."""
        sums: dict[Any, list[float | Tensor]] = {key: [] for key in self._shardings}
        for key, value in parts:
            sums[key].append(value)
        device = self._device or _device_of(norm_group)
        total = _added([_reduced(_added(values), key, device) for key, values in sums.items()])
        return total if norm_group is None else _all_reduced(total, norm_group, device)


def sharding(param: Any) -> Any:
    """Return what tells shards of `param` from copies: None, or the mesh of a DTensor with its sharded dimensions.

    Raises RuntimeError for a DTensor whose values are still to be summed.
    """
    if not is_sharded(param):
        return None
    placements = param.placements
    if any(placement.is_partial() for placement in placements):
        raise RuntimeError(f"Adan takes sharded or replicated DTensors, not the partial placements {placements}")
    dims = tuple(dim for dim, placement in enumerate(placements) if not placement.is_replicate())
    return (param.device_mesh, dims) if dims else None


def _reduced(value: float | Tensor, sharding: Any, device: torch.device) -> float | Tensor:
    if sharding is None:
        return value
    mesh, dims = sharding
    for dim in dims:
        value = _all_reduced(value, mesh.get_group(dim), device)
    return value


def _all_reduced(value: float | Tensor, group: Any, device: torch.device) -> float | Tensor:
    total = torch.as_tensor(value, dtype=_widest(device)).to(device, copy=True)
    dist.all_reduce(total, group=group)
    return total if isinstance(value, Tensor) or device.type != "cpu" else total.item()


def _added(values: Sequence[float | Tensor]) -> float | Tensor:
    tensors = [value for value in values if isinstance(value, Tensor)]
    if not tensors:
        return sum(values)
    if len(values) == 1 and tensors[0].dtype is _widest(tensors[0].device):
        return tensors[0]
    device = next((value.device for value in tensors if value.device.type != "cpu"), tensors[0].device)
    dtype = _widest(device)
    return torch.stack([torch.as_tensor(value).to(device, dtype) for value in values]).sum()


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _device_of(group: Any) -> torch.device:
    """Where a process without parameters keeps what it sends to `group`."""
    if group is not None and "nccl" in dist.get_backend(group):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
