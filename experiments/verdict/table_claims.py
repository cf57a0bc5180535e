"""What a source says of a whole table, such as "decoupled decay beats L2", judged over all cells that it speaks of.

The rules are those of the claims of studies (`claims`), with pairs of cells in the place of games: a pair is compared
when all planned seeds of both cells have ended, those that failed among them as the lowest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.schema.tables import Cell, Table, TableClaim
from experiments.verdict import records as of_record
from experiments.verdict.cells import runs_of
from experiments.verdict.claims import UNFINISHED, claim_of, corrected_level, in_favour, judge_games
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.two_samples import TwoSamples, compare


@dataclass(frozen=True)
class Pair:
    """Two cells of one setting, and what their comparison says of the first. `adjusted` is Holm's p over all planned
    pairs of the claim, and `kind` goes by it; both are None or `not run` where seeds are missing."""

    higher: Cell
    lower: Cell
    kind: str
    comparison: TwoSamples | None = None
    adjusted: float | None = None


@dataclass(frozen=True)
class Judged:
    """A claim and the verdict on it: supported where the first of every pair is better at 5 %, unadjusted, refuted by
    one that is worse after Holm's correction, open otherwise. `smallest_p` is the least that a comparison of so many
    planned seeds can give."""

    claim: TableClaim
    kind: str
    pairs: tuple[Pair, ...]
    smallest_p: float

    @property
    def compared(self) -> list[Pair]:
        """The pairs all of whose planned seeds have ended."""
        return [pair for pair in self.pairs if pair.comparison is not None]

    @property
    def in_favour(self) -> list[Pair]:
        """The pairs that speak for the claim."""
        return [pair for pair in self.pairs if in_favour(pair.comparison)]


def judge_claims(table: Table, records: Sequence[dict[str, Any]]) -> list[Judged]:
    """The claims of `table` at paper scale, in its order."""
    return [_judge(table, claim, records) for claim in table.claims]


def _judge(table: Table, claim: TableClaim, records: Sequence[dict[str, Any]]) -> Judged:
    cells = table.compared(claim)
    level = corrected_level(len(cells))
    values = [[_values(table, cell, records) for cell in pair] for pair in cells]
    ended = [all(len(side) == len(table.seeds) > 0 for side in sides) for sides in values]
    compared = [compare(one, other, level) if done else None for (one, other), done in zip(values, ended, strict=True)]
    pairs = []
    for pair, sides, found, (kind, adjusted) in zip(cells, values, compared, judge_games(compared), strict=True):
        if found is None:
            pairs.append(Pair(*pair, UNFINISHED if any(sides) else NOT_RUN))
        else:
            pairs.append(Pair(*pair, kind, found, adjusted))
    n = len(table.seeds)
    kind = claim_of([pair.kind for pair in pairs], [in_favour(pair.comparison) for pair in pairs])
    return Judged(claim, kind, tuple(pairs), min(1.0, 2 / math.comb(2 * n, n)))


def _values(table: Table, cell: Cell, records: Sequence[dict[str, Any]]) -> list[float]:
    """A number for each planned seed that has ended: the metric with the sign by which more is better, -inf where the
    run failed."""
    metric = cell.metric or table.metric
    runs = [
        record
        for record in runs_of(cell, records)
        if record["scale"] == "paper" and record["seed"] in table.seeds and not of_record.overrides(record)
    ]
    found = []
    for record in of_record.one_experiment(runs):
        if of_record.failed(record, metric):
            found.append(-math.inf)
        elif record["status"] == "finished" and (value := of_record.value(record, metric)) is not None:
            found.append(value if record["config"]["metrics"][metric]["direction"] == "max" else -value)
    return found
