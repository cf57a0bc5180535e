"""What must not differ between optimizers that are compared by a tuning: everything but the optimizer's own settings.

An experiment's recipe may give each optimizer a schedule, a batch or an augmentation of its own. Under a frame all take
those of one optimizer, as values of the command line, so that a record's `overrides` say what was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.budget import budget_of
from experiments.schema.config import RunConfig
from experiments.schema.digest import NOT_IDENTITY
from experiments.schema.layers import shrunk
from experiments.schema.resolve import resolve
from experiments.schema.typed import get, leaves, to_dict

OF_THE_OPTIMIZER = ("optim", "exp", "recipe", "task", "scale", "scale_factors", "batch_size", "inherited")


def frame_values(
    choices: Mapping[str, Any], frame: str, values: Mapping[str, Any], configs: Path = paths.CONFIGS
) -> tuple[int | None, dict[str, Any]]:
    """The nominal batch size that `frame` has and the run of `choices` has not (None: the same), and all other settings
    in which the two differ, as the frame has them."""
    theirs = resolve({**choices, "optim": frame}, _own(values), configs)
    ours = resolve(dict(choices), _own(values), configs)
    batch_size = theirs.batch_size if theirs.batch_size != ours.batch_size else None
    if batch_size:
        ours = resolve({**choices, "batch_size": batch_size}, _own(values), configs)
    wanted, has = to_dict(theirs), to_dict(ours)
    keys = dict.fromkeys(key for tree in (wanted, has) for key, _ in leaves(tree))
    return batch_size, {key: get(wanted, key) for key in keys if _belongs(key) and get(wanted, key) != get(has, key)}


def shortened(config: RunConfig, budget: Fraction) -> dict[str, Any]:
    """The settings by which a run of `config` takes that part of its length: budget, warm-up, cool-down and milestones,
    rounded as a scale rounds them. Nothing for the whole."""
    if budget == 1:
        return {}
    tree = to_dict(config)
    unit = budget_of(tree["schedule"]).unit
    schedule = shrunk(tree, {unit: budget, "batch_size": Fraction(1)})["schedule"]
    return {f"schedule.{key}": value for key, value in schedule.items() if value != tree["schedule"].get(key)}


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that every optimizer has: hyper-parameters are left out."""
    return {key: value for key, value in values.items() if not key.startswith("optim.")}


def _belongs(key: str) -> bool:
    left_out = (*OF_THE_OPTIMIZER, *NOT_IDENTITY)
    return not any(key == field or key.startswith(f"{field}.") for field in left_out)
