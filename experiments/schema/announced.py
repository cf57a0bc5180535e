"""Optimizers that installed packages announce: choices of `optim=` beside the files of `configs/optim`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from experiments.schema.errors import UserError

ENTRY_POINT_GROUP = "adan_reproduction.optimizers"


@cache
def announced() -> Mapping[str, EntryPoint]:
    """The entry points of all installed packages by name; none is loaded."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def load(name: str) -> Any:
    """What the entry point `name` holds: an `experiments.optimizers.OptimizerInfo`. UserError where it does not."""
    point = announced()[name]
    try:
        entry = point.load()
    except Exception as error:  # a package of somebody else's may fail in any way
        raise UserError(f"optim={name}: entry point {point.value} cannot be loaded: {error!r}") from error
    if not isinstance(getattr(entry, "defaults", None), Mapping):
        raise UserError(f"optim={name}: entry point {point.value} is no OptimizerInfo but a {type(entry).__name__}")
    if entry.name != name:
        raise UserError(f"optim={name}: entry point {point.value} names itself {entry.name!r}: both must be the same")
    return entry


def hyper_parameters(name: str) -> dict[str, Any]:
    """What a file of `configs/optim` would hold for it: name, hyper-parameters at their defaults, who decays."""
    defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in load(name).defaults.items()}
    return {"name": name, **defaults, "decay_bias_and_norm": False}
