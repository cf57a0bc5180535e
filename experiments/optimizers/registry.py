"""Optimizers by name: built in, registered, announced by installed packages. No torch until one is built."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from experiments.optimizers.catalogue import CATALOGUE
from experiments.optimizers.facts import OptimizerInfo
from experiments.schema.errors import UserError, suggestion

ENTRY_POINT_GROUP = "adan_reproduction.optimizers"


_registered: dict[str, OptimizerInfo] = {}


def register(entry: OptimizerInfo) -> OptimizerInfo:
    """Make an optimizer known by its name. UserError where another one has that name already."""
    if entry.name in names() and _registered.get(entry.name) != entry:
        raise UserError(f"an optimizer named {entry.name!r} is registered already: choose another name")
    _registered[entry.name] = entry
    return entry


def names() -> list[str]:
    """Names of all optimizers: built in, registered, and announced by installed packages (not loaded yet)."""
    return sorted({*CATALOGUE, *_registered, *_announced()})


def info(name: str) -> OptimizerInfo:
    """The facts about `name`. UserError, with the nearest name, for an unknown one."""
    entry = CATALOGUE.get(name) or _registered.get(name)
    if entry is None and name in _announced():
        entry = _announced()[name].load()
        if not isinstance(entry, OptimizerInfo):
            point = _announced()[name].value
            raise UserError(f"entry point {name} = {point} is no OptimizerInfo but a {type(entry).__name__}")
    if entry is None:
        raise UserError(f"optim={name}: unknown optimizer{suggestion(name, names())}")
    return entry


def resolve(optim: Mapping[str, Any]) -> tuple[OptimizerInfo, dict[str, Any], bool]:
    """Split a configuration's `optim` into the facts, the complete hyper-parameters and `decay_bias_and_norm`."""
    settings = dict(optim)
    entry = info(settings.pop("name"))
    decay_bias_and_norm = bool(settings.pop("decay_bias_and_norm", False))
    return entry, entry.complete(settings), decay_bias_and_norm


@cache
def _announced() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
