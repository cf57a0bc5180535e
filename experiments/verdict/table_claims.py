"""The judge of what sources claim over cells of tables, such as "decoupled decay beats L2", at one scale.

`better_than` and `best_of_table` go by the rules of the claims of studies (`claims`), with pairs of cells in the place
of games. `half_budget_reaches_full` compares means by Welch: half the budget reaches the full one where the 90 %
interval of the difference lies above minus the margin (`margins`; without one, above zero). `tolerates` compares the
losses from the best batch size to the worst by the same test. Cells are compared when all planned seeds of both have
ended; runs that failed are the lowest among ranks, and leave a comparison of means open.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from experiments.schema.scales import PAPER
from experiments.schema.tables import Cell, Table, load_table
from experiments.verdict import records as of_record
from experiments.verdict.cells import runs_of
from experiments.verdict.claims import (
    OPEN,
    REFUTED,
    SUPPORTED,
    UNFINISHED,
    claim_of,
    corrected_level,
    in_favour,
    judge_games,
)
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.margins import margin_of
from experiments.verdict.reported import Reported, reported_for
from experiments.verdict.stated_claims import HALF_BUDGET, STABLE, TOLERATES, Claim, claims_of_page
from experiments.verdict.student_t import EQUIVALENCE_LEVEL, LEVEL, Interval, sample_sd
from experiments.verdict.two_samples import TwoSamples, compare


@dataclass(frozen=True)
class CellRuns:
    """The planned seeds of a cell at one scale that have ended: a value for each, with the sign by which more is better
    (-inf: the run failed), and the mean measured `seconds` of those runs (None before one has ended)."""

    table: Table
    cell: Cell
    values: tuple[float, ...]
    seconds: float | None

    @property
    def ended(self) -> bool:
        """Whether all planned seeds have ended."""
        return len(self.values) == len(self.table.seeds) > 0

    @property
    def failures(self) -> int:
        return sum(not math.isfinite(value) for value in self.values)


@dataclass(frozen=True)
class Pair:
    """Two cells of one setting, and what their comparison says of the first. `adjusted` is Holm's p over all planned
    pairs of the claim, and `kind` goes by it; both are None or `not run` where seeds are missing. `margin` is what the
    first may fall behind by and still reach the second (None: the claim asks it to be better)."""

    higher: Cell
    lower: Cell
    kind: str
    comparison: TwoSamples | None = None
    adjusted: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What a claim that is no matter of pairs estimates, with its 95 % interval: how much less the first optimizer
    loses over batch sizes than the second, or the share of runs that fail."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Judged:
    """A claim and the verdict on it: supported where the first of every pair is better at 5 %, unadjusted, refuted by
    one that is worse after Holm's correction, open otherwise. `smallest_p` is the least that a comparison of so many
    planned seeds can give. `runs` are all cells that it speaks of, each once."""

    claim: Claim
    kind: str
    pairs: tuple[Pair, ...]
    smallest_p: float
    scale: str = PAPER
    runs: tuple[CellRuns, ...] = ()
    estimate: Estimate | None = None

    @property
    def compared(self) -> list[Pair]:
        """The pairs all of whose planned seeds have ended."""
        return [pair for pair in self.pairs if pair.comparison is not None]

    @property
    def in_favour(self) -> list[Pair]:
        """The pairs that speak for the claim."""
        if self.claim.kind == HALF_BUDGET:
            return [pair for pair in self.pairs if pair.kind == SUPPORTED]
        return [pair for pair in self.pairs if in_favour(pair.comparison)]


def judge_claims(table: Table, records: Sequence[dict[str, Any]]) -> list[Judged]:
    """The claims on the page of `table` at paper scale, in the order of their file."""
    return [judge_claim(claim, records) for claim in claims_of_page(table)]


def judge_claim(
    claim: Claim,
    records: Sequence[dict[str, Any]],
    scale: str = PAPER,
    numbers: dict[str, Reported] | None = None,
) -> Judged:
    """The verdict on a claim over tables at `scale`; `numbers` are the reported ones, by which margins go."""
    pairs: list[tuple[Table, Cell, Cell]] = []
    runs: dict[Cell, CellRuns] = {}
    for table in map(load_table, claim.tables):
        found = claim.compared(table) if claim.kind != STABLE else []
        pairs += [(table, *pair) for pair in found]
        cells = claim.subjects(table) if claim.kind == STABLE else [cell for pair in found for cell in pair]
        runs |= {cell: runs_at(table, cell, records, scale) for cell in cells}
    if claim.kind == STABLE:
        return _stable(claim, scale, tuple(runs.values()))
    sides = [(runs[one], runs[other]) for _, one, other in pairs]
    n = min(len(table.seeds) for table, *_ in pairs)
    smallest = min(1.0, 2 / math.comb(2 * n, n))
    if claim.kind == HALF_BUDGET:
        margins = [_margin(table, other, numbers or {}) for table, _, other in pairs]
        judged = tuple(_reaches(*side, margin, len(sides)) for side, margin in zip(sides, margins, strict=True))
        return Judged(claim, _overall(judged), judged, smallest, scale, tuple(runs.values()))
    judged = _ranked(sides)
    if claim.kind == TOLERATES:
        kind, estimate = tolerance([one for one, _ in sides], [other for _, other in sides])
        return Judged(claim, kind, judged, smallest, scale, tuple(runs.values()), estimate)
    kind = claim_of([pair.kind for pair in judged], [in_favour(pair.comparison) for pair in judged])
    return Judged(claim, kind, judged, smallest, scale, tuple(runs.values()))


def runs_at(table: Table, cell: Cell, records: Sequence[dict[str, Any]], scale: str = PAPER) -> CellRuns:
    """The planned seeds of a cell that have ended at `scale`."""
    metric = cell.metric or table.metric
    runs = [
        record
        for record in runs_of(cell, records)
        if record["scale"] == scale and record["seed"] in table.seeds and not of_record.overrides(record)
    ]
    found, seconds = [], []
    for record in of_record.one_experiment(runs):
        if of_record.failed(record, metric):
            found.append(-math.inf)
        elif record["status"] == "finished" and (value := of_record.value(record, metric)) is not None:
            found.append(value if record["config"]["metrics"][metric]["direction"] == "max" else -value)
            seconds += [record["wall_seconds"]] if "wall_seconds" in record else []
    return CellRuns(table, cell, tuple(found), statistics.fmean(seconds) if seconds else None)


def _ranked(sides: Sequence[tuple[CellRuns, CellRuns]]) -> tuple[Pair, ...]:
    level = corrected_level(len(sides))
    compared = [compare(one.values, other.values, level) if one.ended and other.ended else None for one, other in sides]
    pairs = []
    for (one, other), found, (kind, adjusted) in zip(sides, compared, judge_games(compared), strict=True):
        if found is None:
            pairs.append(Pair(one.cell, other.cell, UNFINISHED if one.values or other.values else NOT_RUN))
        else:
            pairs.append(Pair(one.cell, other.cell, kind, found, adjusted))
    return tuple(pairs)


def _reaches(half: CellRuns, full: CellRuns, margin: float, comparisons: int) -> Pair:
    """Whether half the budget reaches the full one: a pair that is supported, refuted or open."""
    if not (half.ended and full.ended):
        begun = half.values or full.values
        return Pair(half.cell, full.cell, UNFINISHED if begun else NOT_RUN, margin=margin)
    near = compare(half.values, full.values, EQUIVALENCE_LEVEL)
    far = compare(half.values, full.values, corrected_level(comparisons))
    kind = OPEN
    if near.difference_interval and far.difference_interval and not half.failures + full.failures:
        if near.difference_interval.low > -margin:
            kind = SUPPORTED
        elif far.difference_interval.high < -margin:
            kind = REFUTED
    return Pair(half.cell, full.cell, kind, far, margin=margin)


def _overall(pairs: Sequence[Pair]) -> str:
    kinds = {pair.kind for pair in pairs}
    if REFUTED in kinds:
        return REFUTED
    if kinds == {SUPPORTED}:
        return SUPPORTED
    return NOT_RUN if kinds <= {NOT_RUN, UNFINISHED} else OPEN


def tolerance(ours: Sequence[CellRuns], theirs: Sequence[CellRuns]) -> tuple[str, Estimate | None]:
    """Whether the first optimizer loses less than the second from its best cell to its worst: the difference of the two
    losses of means with Welch's 95 % interval, which takes the four cells as chosen beforehand."""
    cells = [*ours, *theirs]
    if not all(runs.ended for runs in cells):
        return NOT_RUN, None
    if any(runs.failures for runs in cells) or min(len(runs.values) for runs in cells) < 2:
        return OPEN, None
    ends = [end for side in (theirs, ours) for end in (max(side, key=_mean), min(side, key=_mean))]
    difference = (_mean(ends[0]) - _mean(ends[1])) - (_mean(ends[2]) - _mean(ends[3]))
    interval = _welch(difference, [runs.values for runs in ends])
    kind = SUPPORTED if interval.low > 0 else REFUTED if interval.high < 0 else OPEN
    return kind, Estimate(difference, interval)


def _welch(difference: float, samples: Sequence[Sequence[float]]) -> Interval:
    """The 95 % interval of a sum of means of `samples` by Welch and Satterthwaite."""
    parts = [(sample_sd(values) ** 2 / len(values), len(values) - 1) for values in samples]
    variance = sum(part for part, _ in parts)
    if not variance:
        return Interval(difference, difference)
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    half_width = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)
    return Interval(difference - half_width, difference + half_width)


def _stable(claim: Claim, scale: str, runs: tuple[CellRuns, ...]) -> Judged:
    """Stable: every planned seed of every cell ended, and none failed; one that failed refutes it."""
    kind, estimate = stability(runs)
    return Judged(claim, kind, (), 1.0, scale, runs, estimate)


def stability(runs: Sequence[CellRuns]) -> tuple[str, Estimate | None]:
    """The verdict and the share of runs that failed, with Wilson's 95 % interval."""
    ended, failed = sum(len(one.values) for one in runs), sum(one.failures for one in runs)
    if not ended:
        return NOT_RUN, None
    kind = REFUTED if failed else SUPPORTED if all(one.ended for one in runs) else OPEN
    return kind, Estimate(failed / ended, wilson(failed, ended))


def wilson(successes: int, n: int) -> Interval:
    """Wilson's 95 % interval of a share (1927, J. Am. Stat. Assoc. 22:209)."""
    z = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def _mean(runs: CellRuns) -> float:
    return statistics.fmean(runs.values)


def _margin(table: Table, cell: Cell, numbers: dict[str, Reported]) -> float:
    reported = reported_for(numbers, cell, table.name) if cell.reported and numbers else None
    margin = margin_of(reported) if reported else None
    return margin.around(reported.value) if margin and reported else 0.0
