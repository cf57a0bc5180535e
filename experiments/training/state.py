"""Gather what training changes in a process as a checkpoint holds it, and put it back, on any number of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from experiments import optimizers
from experiments.schema.config import RunConfig
from experiments.schema.players import of_each, own
from experiments.training import checkpoint, parallel
from experiments.training.players import Player, described
from experiments.training.task import Part, Task

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


def state_of(
    config: RunConfig, task: Task, players: Mapping[str, Player], ema: ModelEmaV3 | None, part: Part
) -> dict[str, Any]:
    """The state of all of these, asked on every rank. What ranks hold apart is complete on rank 0 alone. Of several
    players `optimizer`, `optimizer_ran`, `scaler` and `norms` have that of each by its name."""
    return {
        "rank_buffers": parallel.gather_buffers(task.module, part.world_size),
        "rank_ema_buffers": parallel.gather_buffers(ema.module, part.world_size) if ema is not None else None,
        "task": task.state(),
        "module": task.module.state_dict(),
        "optimizer": of_each(config, lambda name: players[name].optimizer_state()),
        "optimizer_ran": described(config, players),
        "ema": ema.module.state_dict() if ema is not None else None,
        "scaler": of_each(config, lambda name: players[name].scaler.state_dict()),
        "norms": of_each(config, lambda name: players[name].norms.state()),
        "random": checkpoint.random_streams(),
        "threads": torch.get_num_threads(),
    }


def copy_of_state(
    config: RunConfig, task: Task, players: Mapping[str, Player], ema: ModelEmaV3 | None, part: Part
) -> dict[str, Any]:
    """A copy of `state_of`, on the device and of this rank alone: `put_back` is its inverse."""
    return deepcopy(state_of(config, task, players, ema, replace(part, rank=0, world_size=1)))


def put_back(
    state: dict[str, Any], task: Task, players: Mapping[str, Player], ema: ModelEmaV3 | None, part: Part
) -> None:
    """Inverse of `copy_of_state`, on every rank."""
    load_state(state, task, players, ema, replace(part, rank=0, world_size=1))


def require_fit(state: dict[str, Any], task: Task, players: Mapping[str, Player], ema: ModelEmaV3 | None) -> None:
    """Raise `checkpoint.Unusable` for a state that is not of these: checked before anything is changed."""
    missing = {"rank_buffers", "rank_ema_buffers", "task", "module", "optimizer", "optimizer_ran", "ema", "scaler"}
    missing = (missing | {"random", "threads"}) - state.keys()
    if missing:
        raise checkpoint.Unusable(f"it has no {sorted(missing)[0]!r}")
    _require_shapes("model", state["module"], task.module.state_dict())
    if (ema is None) != (state["ema"] is None):
        raise checkpoint.Unusable(f"it has {'no ' * (state['ema'] is None)}averaged weights")
    if ema is not None:
        _require_shapes("averaged model", state["ema"], ema.module.state_dict())
    for name, player in players.items():
        before = own(state["optimizer_ran"], name)["name"]
        now = optimizers.describe(player.optimizer)["name"]
        if before != now:
            raise checkpoint.Unusable(f"it is of optimizer {before}, not {now}")
        _require_optimizer(own(state["optimizer"], name), player.optimizer, elementwise=_is_elementwise(now))


def _require_shapes(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    if different := found.keys() ^ wanted.keys():
        raise checkpoint.Unusable(f"its {what} is another: {sorted(different)[0]} is in one of the two only")
    for name, tensor in wanted.items():
        if (there := tuple(found[name].shape)) != tuple(tensor.shape):
            raise checkpoint.Unusable(f"its {what} is another: {name} has shape {there}, not {tuple(tensor.shape)}")


def _require_optimizer(found: dict[str, Any], optimizer: Optimizer, elementwise: bool) -> None:
    """Groups of as many parameters; of an element-wise optimizer, states of their shapes."""
    sizes = [[len(group["params"]) for group in groups] for groups in (found["param_groups"], optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        raise checkpoint.Unusable(f"its optimizer has groups of {sizes[0]} parameters, not {sizes[1]}")
    params = [param for group in optimizer.param_groups for param in group["params"]]
    numbers = [number for group in found["param_groups"] for number in group["params"]]
    for number, param in zip(numbers, params, strict=True):
        for name, value in found["state"].get(number, {}).items() if elementwise else ():
            if isinstance(value, torch.Tensor) and value.numel() > 1 and value.shape != param.shape:
                shapes = f"{tuple(value.shape)}, not {tuple(param.shape)}"
                raise checkpoint.Unusable(f"its optimizer's {name} of parameter {number} has shape {shapes}")


def _is_elementwise(name: str) -> bool:
    return name in optimizers.names() and optimizers.info(name).elementwise


def load_state(
    state: dict[str, Any],
    task: Task,
    players: Mapping[str, Player],
    ema: ModelEmaV3 | None,
    part: Part,
) -> None:
    """Inverse of `state_of`, on every rank, but for the number of threads."""
    parallel.restore(task.module, state["module"], state["rank_buffers"], part.rank, part.world_size)
    for name, player in players.items():
        player.load_optimizer(own(state["optimizer"], name))
        player.scaler.load_state_dict(own(state["scaler"], name))
        player.norms.load(own(state["norms"], name) if "norms" in state else {})  # earlier code kept none
    if ema is not None:
        parallel.restore(ema.module, state["ema"], state["rank_ema_buffers"], part.rank, part.world_size)
    task.load(state["task"])
    checkpoint.restore_random_streams(state["random"])
