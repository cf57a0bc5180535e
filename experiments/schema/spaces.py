"""What there is to tune of an optimizer: the ranges that its file, `configs/optim/<name>.yaml`, declares under `space`.

    space:
      lr: {low: 1.0e-4, high: 1.0e-2}
      weight_decay: {low: 5.0e-3, high: 1.0}
      source: where the ranges come from
      tasks:
        lstm_language_modelling: {lr: {low: 3.0e-4, high: 3.0e-2}, source: ...}

Every range is of logarithms. Under `tasks` a kind of task has its own. An optimizer of an installed package says the
same in the attribute `space` of its `OptimizerInfo`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.schema import names, paths
from experiments.schema.announced import announced, load
from experiments.schema.errors import UserError, suggestion
from experiments.schema.sources import read

SPACE = "space"
NOTES = ("source", "tasks")


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, whose logarithms are equally likely."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The number a `share` (0 to 1) of the way from `low` to `high`, rounded to three digits."""
        return float(f"{self.low * (self.high / self.low) ** share:.3g}")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Space:
    """The range of each hyper-parameter that is tuned (`lr`, `weight_decay`), in order, and where they come from."""

    ranges: Mapping[str, Range]
    source: str


def space_of(optim: str, task: str, configs: Path = paths.CONFIGS) -> Space:
    """The space of an optimizer for a kind of task. Raises UserError where none is declared, naming those that have
    one, and for a range that is none."""
    tree = _declared(optim, configs)
    if tree is None:
        having = [name for name in names.choices("optim", configs) if _declared(name, configs)]
        raise UserError(
            f"optim={optim}: configs/optim/{optim}.yaml declares no `space`, so there is nothing to draw trials from; "
            f"declared are those of {', '.join(having)}"
        )
    where = f"configs/optim/{optim}.yaml: space"
    own = (tree.get("tasks") or {}).get(task) or {}
    entries = {**tree, **own}
    ranges = {key: _range(value, f"{where}.{key}") for key, value in entries.items() if key not in NOTES}
    if "lr" not in ranges:
        raise UserError(f"{where}: lr is missing")
    if not entries.get("source"):
        raise UserError(f"{where}: source is missing: where do the ranges come from?")
    return Space(ranges, str(entries["source"]))


def without_space(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the file of an optimizer holds, but for its space."""
    return {key: value for key, value in hyper_parameters.items() if key != SPACE}


def _declared(optim: str, configs: Path) -> Mapping[str, Any] | None:
    names.require("optim", optim, "command line", configs)
    file = configs / "optim" / f"{optim}.yaml"
    if file.is_file():
        return read(file).get(SPACE)
    return getattr(load(optim), SPACE, None) if optim in announced() else None


def _range(value: Any, where: str) -> Range:
    if not isinstance(value, Mapping) or set(value) != {"low", "high"}:
        unknown = [key for key in value if key not in ("low", "high")] if isinstance(value, Mapping) else []
        near = suggestion(unknown[0], ["low", "high"]) if unknown else ""
        raise UserError(f"{where}: expected {{low: ..., high: ...}}{near}")
    found = Range(float(value["low"]), float(value["high"]))
    if not 0 < found.low < found.high:
        raise UserError(f"{where}: {found}: both must be positive, and low below high")
    return found
