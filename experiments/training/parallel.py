"""Ranks of one run: process group, gradient averaging, reductions, batch-norm statistics.

Plain `DistributedDataParallel`; gloo on CPUs, NCCL on GPUs. With one rank every function here is the identity.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from experiments.schema.errors import UserError


def choose_device(requested: str, local_rank: int) -> torch.device:
    """The device of this rank; `auto` takes a GPU when there is one.

    Raises UserError when a GPU is asked for and absent, or when ranks would have to share one.
    """
    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise UserError("launch.device=cuda, but torch sees no GPU here; choose launch.device=cpu")
    if requested == "cpu" or not available:
        return torch.device("cpu")
    ranks, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if ranks > gpus:
        raise UserError(f"{ranks} ranks on this machine, which has {gpus} GPU(s): choose launch.devices={gpus}")
    device = torch.device("cuda", local_rank % gpus)  # a task that is shown one GPU has that one as 0
    torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = True  # as timm's script does: input shapes do not change
    return device


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the group that the environment describes (RANK, WORLD_SIZE, ...); yield (rank, world size)."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    if dist.is_initialized():
        yield dist.get_rank(), dist.get_world_size()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield dist.get_rank(), dist.get_world_size()
    # Not after an error: other ranks may be waiting in a collective, and taking the group down would wait for them.
    dist.destroy_process_group()


def wrap(module: nn.Module, world_size: int, device: torch.device, compiled: bool) -> nn.Module:
    """`module` as forward passes use it: gradients averaged over ranks, perhaps compiled.

    Buffers stay local until `share_batch_norm`, as in the released runs.
    """
    if world_size > 1:
        ids = [device.index] if device.type == "cuda" else None
        with warnings.catch_warnings():
            # Deprecated in torch 2.13 for an argument that 2.11 does not have.
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
            module = DistributedDataParallel(
                module, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
            )
    return cast(nn.Module, torch.compile(module)) if compiled else module


def without_reduction(module: nn.Module) -> AbstractContextManager:
    """Context in which backward only accumulates: all micro-batches but an update's last."""
    return getattr(module, "no_sync", nullcontext)()


def sum_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Element-wise float64 sum over ranks."""
    if not dist.is_initialized():
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return tensor.tolist()


def sum_on_device(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` summed over ranks, in place, without a wait for a GPU."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def share_batch_norm(module: nn.Module, world_size: int, how: str) -> None:
    """Batch-norm statistics before an evaluation (timm's `dist_bn`): `reduce` averages them over ranks,
    `broadcast` takes rank 0's, `none` leaves each rank its own."""
    if world_size > 1 and how != "none":
        from timm.utils import distribute_bn

        distribute_bn(module, world_size, reduce=how == "reduce")


def wait_for_all(device: torch.device) -> None:
    """Return when every rank has come here."""
    sum_over_ranks([0.0], device)


def restore(
    module: nn.Module,
    state: dict[str, torch.Tensor],
    rank_buffers: list[dict[str, torch.Tensor]] | None,
    rank: int,
    world_size: int,
) -> None:
    """Load rank 0's `state`, and this rank's own buffers where as many ranks saved theirs (`gather_buffers`)."""
    module.load_state_dict(state)
    if rank_buffers and len(rank_buffers) == world_size:
        module.load_state_dict(rank_buffers[rank], strict=False)


def gather(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """The tensors of all ranks, which are of one shape, one after another along `dim`."""
    if not dist.is_initialized():
        return tensor
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts, dim=dim)


def gather_buffers(module: nn.Module, world_size: int) -> list[dict[str, torch.Tensor]] | None:
    """Every rank's buffers, on rank 0: between evaluations batch-norm statistics differ from rank to rank."""
    if world_size == 1:
        return None
    buffers = {name: buffer.cpu() for name, buffer in module.named_buffers()}
    if not buffers:
        return None
    gathered: list[dict[str, torch.Tensor] | None] | None = [None] * world_size if dist.get_rank() == 0 else None
    dist.gather_object(buffers, gathered)
    return gathered  # type: ignore[return-value]
