"""From sealed records to the results of a table's cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.schema.experiment_file import read_experiment
from experiments.schema.scales import PAPER, SCALES, scales_of
from experiments.schema.tables import Cell, Table
from experiments.verdict import records as of_record
from experiments.verdict.cells import runs_of
from experiments.verdict.curves import on_track
from experiments.verdict.judge import NOT_RUN, UNSTABLE, Verdict, judge
from experiments.verdict.reported import Reported, find_reported, reported_for
from experiments.verdict.student_t import Interval, compare, sample_sd


@dataclass(frozen=True)
class Result:
    """One cell at one scale. `mean` is over `n` seeds, `interval` its 95 % interval where there is a spread
    (between our seeds, or sourced at paper scale); `runs` are the names of the records behind them. `beside` is the
    mean over them of the metric that the table shows beside its own."""

    cell: Cell
    reported: Reported | None
    scale: str
    verdict: Verdict
    mean: float | None
    interval: Interval | None
    n: int
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    beside: float | None = None


@dataclass(frozen=True)
class Average:
    """The mean over the columns of a row: what the paper prints, and ours once every column has been run (None
    before)."""

    row: Any
    reported: Reported | None
    ours: float | None


def scales(exps: Iterable[str]) -> list[str]:
    """The scales that some of these experiments have, the largest first."""
    having = {scale for exp in exps for scale in scales_of(read_experiment(exp))}
    return [scale for scale in SCALES if scale in having]


def averages(table: Table, cells: Sequence[Result], numbers: dict[str, Reported]) -> list[Average]:
    """The rows whose average the paper prints, with ours from `cells`, the table's at one scale."""
    found = []
    for row, id in table.averages.items():
        means = [cell.mean for cell in cells if getattr(cell.cell, table.rows) == row]
        known = [mean for mean in means if mean is not None]
        ours = statistics.fmean(known) if len(known) == len(means) else None
        found.append(Average(row, find_reported(numbers, id, f"configs/table/{table.name}.yaml"), ours))
    return found


def beside_the_authors(table: Table, known: Sequence[dict[str, Any]]) -> list[str]:
    """One line for every run of the table at paper scale, finished or not, that follows a curve of the authors: its
    last evaluation beside theirs, and at how many it was on track."""
    lines = []
    for cell in table.cells:
        for record in runs_of(cell, known):
            curve = record["config"].get("curve")
            if record["scale"] != PAPER or not curve or of_record.overrides(record):
                continue
            evaluations = of_record.evaluations(record)
            found = [on_track(curve, event["epoch"], event, event["update"]) for event in evaluations]
            if said := [text for text in found if text]:
                held = sum(text.endswith("on track") for text in said)
                lines.append(
                    f"{record['exp']} {record['optim']}, seed {record['seed']}: {said[-1]}; on track at {held} of "
                    f"{len(said)} evaluations"
                )
    return lines


def records() -> list[dict[str, Any]]:
    """All sealed records of this suite. Raises UserError naming a file that is no record."""
    return of_record.sealed_records()


def results(table: Table, scale: str, known: Sequence[dict[str, Any]], numbers: dict[str, Reported]) -> list[Result]:
    """The results of all cells of `table` at `scale`, in the table's order."""
    return [_result(table, cell, scale, known, numbers) for cell in table.cells]


def _result(
    table: Table, cell: Cell, scale: str, known: Sequence[dict[str, Any]], numbers: dict[str, Reported]
) -> Result:
    reported = reported_for(numbers, cell, table.name)
    runs = [record for record in runs_of(cell, known) if record["scale"] == scale]
    verdict = judge(runs, cell, reported, table.seeds)
    if scale == PAPER and verdict.mean is not None:
        used, mean, interval = verdict.runs, verdict.mean, verdict.mean_interval
    elif scale == PAPER:
        used, mean, interval = (), None, None
    else:
        metric = cell.metric or table.metric
        drawn = of_record.one_experiment([record for record in runs if not of_record.overrides(record)])
        lost = [record for record in drawn if of_record.failed(record, metric)]
        used, mean, interval = ((), None, None) if lost else _mean(drawn, metric)
        if lost:
            verdict = Verdict(UNSTABLE, f"{len(lost)} of {len(drawn)} seeds ended without a finite {metric}")
        elif not used:
            verdict = Verdict(NOT_RUN, "no finished run of this cell without changes on the command line")
    seeds = tuple(record["seed"] for record in runs if record["run"] in used)
    others = of_record.values([record for record in runs if record["run"] in used], table.beside or "")
    beside = statistics.fmean(others) if others else None
    return Result(cell, reported, scale, verdict, mean, interval, len(used), tuple(sorted(seeds)), tuple(used), beside)


def _mean(drawn: Sequence[dict[str, Any]], metric: str) -> tuple[tuple[str, ...], float | None, Interval | None]:
    """Names, mean and interval of the finished runs among `drawn`."""
    used = [
        record for record in drawn if record["status"] == "finished" and of_record.value(record, metric) is not None
    ]
    if not used:
        return (), None, None
    values = of_record.values(used, metric)
    mean, sd = statistics.fmean(values), sample_sd(values)
    interval = compare(values, mean, sd, len(values) - 1).mean_interval if sd else None
    return tuple(record["run"] for record in used), mean, interval
