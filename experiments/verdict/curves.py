"""The authors' own training curves (`results/curves/<name>.csv`), and whether a run keeps up with them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.budget import budget_of
from experiments.schema.errors import UserError, suggestion
from experiments.schema.resolve import resolve
from experiments.verdict import inputs
from experiments.verdict import records as of_record

NEIGHBOURS = 2
# An evaluation farther than so many of the authors' evaluations from all of theirs is not compared.
REACH = 5


@dataclass(frozen=True)
class Compared:
    """A column of curves, the metric of this suite that it records, and the direction that is better.

    A difference within `allowance` of what the authors had in the epochs around, or within `share` of it, is the noise
    of single evaluations.
    """

    column: str
    metric: str
    sign: int
    allowance: float = 0.5
    share: float = 0.0


COMPARED = (
    Compared("top1", "top1", 1),
    Compared("test_top1", "top1", 1),
    Compared("test_ppl", "test_ppl", -1, allowance=0.0, share=0.02),  # from 400 in the first epoch to 60 in the last
    Compared("valid_ppl", "val_ppl", -1, allowance=0.0, share=0.02),  # from 40 to 23, or of BERT from 6 to 3.5
    Compared("eval_loss", "eval_loss", -1),
)


@dataclass(frozen=True)
class Axis:
    """Says what a curve's rows count, and the number that is printed for the first."""

    unit: str
    first: int

    def place(self, x: int) -> str:
        return f"{self.unit} {x + self.first:,}"

    def between(self, x: tuple[int, ...]) -> int:
        """The distance of two evaluations of the authors."""
        return min((later - row for row, later in pairwise(x)), default=1)


# Name of a curve's first column -> what it counts.
AXES = {"epoch": Axis("epoch", first=1), "step": Axis("update", first=0)}


@dataclass(frozen=True)
class Curve:
    """Columns of numbers over `x`, which counts epochs from 0 (or updates, when `x_name` is `step`)."""

    name: str
    x_name: str
    x: tuple[int, ...]
    columns: dict[str, tuple[float, ...]]


def load_curve(name: str) -> Curve:
    """The curve of that name. Raises UserError for an unknown name or a file that is not a table of numbers."""
    folder = inputs.folder("curves")
    path = folder / f"{name}.csv"
    if not path.is_file():
        names = sorted(other.stem for other in folder.glob("*.csv") if other.stem != "index")
        raise UserError(f"no curve {name!r} in results/curves{suggestion(name, names)}")
    return _parse(path)


def released_for(record: Mapping[str, Any]) -> str | None:
    """The authors' curve of the cell that `record` is a run of, whatever its scale and its command line changed; None
    where they released none, or no experiment's file names the cell any more."""
    budget = budget_of(record)
    choices = {key: record[key] for key in ("exp", "optim", "recipe")} | {budget.unit: budget.count, "scale": "paper"}
    if not any(text.startswith("batch_size=") for text in of_record.overrides(dict(record))):
        choices["batch_size"] = record["batch_size"]
    try:
        return resolve(choices, {}).curve
    except UserError:
        return None


def on_track(name: str, epoch: int, metrics: Mapping[str, float], update: int | None = None) -> str | None:
    """One line that sets an evaluation beside the authors' curve at the same epoch (counted from 0, as events
    and curves do; printed from 1, as the progress of a run is), or of a curve over updates at the same `update`.

    None when the curve has neither, ends too far away, or shares no metric. An unknown curve is said in the
    line and raises nothing: a long run must not end because of a comparison.
    """
    try:
        curve = load_curve(name)
    except UserError as error:
        return f"epoch {epoch + 1}: not compared: {error}"
    shared = next((entry for entry in COMPARED if entry.column in curve.columns and entry.metric in metrics), None)
    if shared is None or curve.x_name not in AXES or not curve.x:
        return None
    axis = AXES[curve.x_name]
    at = update if axis.unit == "update" else epoch
    if at is None:
        return None
    nearest = min(range(len(curve.x)), key=lambda row: (abs(curve.x[row] - at), curve.x[row]))
    if abs(curve.x[nearest] - at) > REACH * axis.between(curve.x):
        return None
    authors, ours, sign = curve.columns[shared.column], float(metrics[shared.metric]), shared.sign
    allowance = max(shared.allowance, shared.share * abs(authors[nearest]))
    where = "" if curve.x[nearest] == at else f" at {axis.place(curve.x[nearest])}"
    difference = ours - authors[nearest]
    ordered = [sign * value for value in authors]
    return (
        f"{axis.place(at)}: {shared.metric} {ours:.2f}, authors {authors[nearest]:.2f}{where} ({difference:+.2f}), "
        f"{_words(sign * ours, ordered, nearest, curve.x, allowance, axis.unit)}"
    )


def _words(ours: float, authors: list[float], row: int, x: tuple[int, ...], allowance: float, unit: str) -> str:
    """`on track`, or how many epochs or updates ahead of or behind the authors; larger values are better."""
    around = authors[max(0, row - NEIGHBOURS) : row + NEIGHBOURS + 1]
    if math.isnan(ours):
        return "not a number"
    if ours > max(around) + allowance:
        later = next((x[other] for other in range(row, len(x)) if authors[other] >= ours), None)
        return f"ahead by {later - x[row]:,} {unit}s" if later is not None else "better than their whole run"
    if ours < min(around) - allowance:
        reached = next((other for other in range(row) if authors[other] >= ours), 0)
        return f"behind by {x[row] - x[reached]:,} {unit}s" if reached else "behind even their first evaluation"
    return "on track"


@lru_cache(maxsize=8)
def _parse(path: Path) -> Curve:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row]
    try:
        numbers = [[float(text) for text in row] for row in rows]
        columns = dict(zip(header, zip(*numbers, strict=True), strict=True))
    except ValueError as error:
        raise UserError(f"{paths.relative(path)} is not a table of numbers: {error}") from error
    x = tuple(int(value) for value in columns.pop(header[0]))
    return Curve(path.stem, header[0], x, columns)
