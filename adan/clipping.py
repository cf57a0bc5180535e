"""The norm over all gradients of all groups, also where a process holds only a part of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from adan.slots import is_sharded
from adan.update import compute_dtype


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
