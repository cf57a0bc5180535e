"""`capture`: whether a run's updates are recorded in CUDA graphs and replayed, and why not."""

from __future__ import annotations

from collections.abc import Callable

import torch

from experiments.optimizers.registry import captures
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.task_info import info
from experiments.training.replays import Replays, into_cuda_graphs


def why_not(config: RunConfig, device: torch.device, world_size: int, runs: int) -> str | None:
    """What stands in the way of recording the updates of `runs` runs that train as one batch; None where nothing
    known does. Costs nothing: no task is built."""
    name = config.optim["name"]
    if device.type != "cuda":
        return f"it runs on the {device.type}, and only a GPU replays"
    if world_size > 1:
        return f"its {world_size} ranks wait for each other's gradients"
    if runs > 1:
        return f"its {runs} seeds train as one batch"
    if config.players:
        return "its players take turns"
    if not info(config.task).replayable:
        return f"{config.task} computes in shapes that depend on the data"
    if not captures(config.optim):
        return f"optim={name} reads numbers on the host"
    if config.schedule.max_momentum is not None:
        return "its schedule moves momenta, which optimizers keep on the host"
    return None


def require(config: RunConfig, device: torch.device, world_size: int, runs: int) -> None:
    """Raise UserError where `capture=true` insists on what cannot be."""
    reason = why_not(config, device, world_size, runs)
    if config.capture is True and reason:
        raise UserError(f"capture=true (command line): this run cannot be captured: {reason}; did you mean auto?")


def replays_of(
    config: RunConfig, device: torch.device, world_size: int, runs: int, say: Callable[[str], None]
) -> Replays | None:
    """What records this run's updates; None where it is not to be, which `say` tells a GPU's user."""
    reason = why_not(config, device, world_size, runs)
    if config.capture is False or (reason and device.type != "cuda"):
        return None
    if reason:
        say(f"capture=auto: updates are not captured in CUDA graphs: {reason}")
        return None
    return Replays(into_cuda_graphs(device), say, insists=config.capture is True)
