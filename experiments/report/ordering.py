"""Which optimizer wins at which budget, and whether the paper's ordering holds at a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.report.collect import Result
from experiments.report.grid import column_key
from experiments.schema.tables import Table

# The optimizer whose claims these tables make.
SUBJECT = "adan"


@dataclass(frozen=True)
class Winner:
    """The best value of a column, and the optimizers that have it."""

    names: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class Order:
    """One column of a table: the best optimizers in the paper and here (None without a number), and the pairs
    (subject, baseline) with both run here and different in the paper, of which `agreeing` have the paper's order
    here too."""

    column: tuple[tuple[str, Any], ...]
    best_reported: Winner | None
    best_ours: Winner | None
    pairs: int
    agreeing: int


def orders(table: Table, results: Sequence[Result], direction: str) -> list[Order]:
    """The order of optimizers in each column of `results` (all of one scale)."""
    columns: dict[tuple[tuple[str, Any], ...], list[Result]] = {}
    for result in results:
        columns.setdefault(column_key(table, result), []).append(result)
    return [_order(key, column, 1.0 if direction == "max" else -1.0) for key, column in columns.items()]


def _order(key: tuple[tuple[str, Any], ...], column: list[Result], sign: float) -> Order:
    reported = {result.cell.optim: result.reported.value for result in column if result.reported}
    ours = {result.cell.optim: result.mean for result in column if result.mean is not None}
    pairs = [
        other
        for other in ours
        if other != SUBJECT
        and {SUBJECT} <= ours.keys() & reported.keys()
        and reported.get(other) not in (None, reported[SUBJECT])
    ]
    agreeing = [other for other in pairs if (ours[SUBJECT] - ours[other]) * (reported[SUBJECT] - reported[other]) > 0]
    return Order(key, _winner(reported, sign), _winner(ours, sign), len(pairs), len(agreeing))


def _winner(values: dict[str, float], sign: float) -> Winner | None:
    if not values:
        return None
    top = max(values.values(), key=lambda value: sign * value)
    return Winner(tuple(name for name, value in values.items() if value == top), top)
