"""Optimizers by name: built in, registered, announced by installed packages. No torch until one is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.optimizers.facts import OptimizerInfo
from experiments.schema.announced import announced, load
from experiments.schema.errors import UserError, suggestion

# Built-in ones, which `catalogue` enters when `experiments.optimizers` is imported, and registered ones.
OPTIMIZERS: dict[str, OptimizerInfo] = {}


def register(entry: OptimizerInfo) -> OptimizerInfo:
    """Make an optimizer known by its name. UserError where another one has that name already."""
    if entry.name in names() and OPTIMIZERS.get(entry.name) != entry:
        raise UserError(f"an optimizer named {entry.name!r} is registered already: choose another name")
    OPTIMIZERS[entry.name] = entry
    return entry


def names() -> list[str]:
    """Return the names of all optimizers: built in, registered, and announced by installed packages, not loaded yet."""
    return sorted({*OPTIMIZERS, *announced()})


def info(name: str) -> OptimizerInfo:
    """Return the facts about `name`. Raises UserError, with the nearest name, for an unknown one."""
    entry = OPTIMIZERS.get(name)
    if entry is None and name in announced():
        entry = load(name)
    if entry is None:
        raise UserError(f"optim={name}: unknown optimizer{suggestion(name, names())}")
    return entry


def captures(optim: Mapping[str, Any]) -> bool:
    """Whether a step of a configuration's `optim` on a GPU can be captured in a CUDA graph."""
    entry, settings, _ = resolve(optim)
    return entry.captures(settings)


def resolve(optim: Mapping[str, Any]) -> tuple[OptimizerInfo, dict[str, Any], dict[str, Any]]:
    """Split a configuration's `optim` into the facts, the complete hyper-parameters, and what makes parameter groups:
    `decay_bias_and_norm` and `layer_decay`."""
    settings = dict(optim)
    entry = info(settings.pop("name"))
    grouping = {
        "decay_bias_and_norm": bool(settings.pop("decay_bias_and_norm", False)),
        "layer_decay": float(settings.pop("layer_decay", 1.0)),
    }
    return entry, entry.complete(settings), grouping
