"""The short block printed at the end of a run: what ran, what it reached, and what that means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from experiments.schema.budget import budget_of
from experiments.schema.errors import UserError
from experiments.schema.studies import Stage, Study
from experiments.verdict.cells import cells_of, runs_of, stages_of
from experiments.verdict.curves import on_track, released_for
from experiments.verdict.equal_data import equal_to
from experiments.verdict.judge import NOT_COMPARABLE, judge
from experiments.verdict.records import overrides, sealed_records, with_record
from experiments.verdict.reported import load_reported, reported_for
from experiments.verdict.standing import standing

WIDTH = 110


def verdict_block(record: dict[str, Any], others: Iterable[dict[str, Any]] | None = None) -> str:
    """The block for `record`, judged together with `others` (by default every sealed record of the suite).

    At paper scale: the verdict against the table cell that the run fills, and the authors' curve. At any other
    scale: that it is not comparable with the paper, and its standing at its own setting. A partial run gets
    only the comparison with the authors' curve.
    """
    lines = [_what_ran(record), _result(record)]
    try:
        known = equal_to(record, with_record(sealed_records() if others is None else others, record))
        lines += _meaning(record, known)
    except UserError as error:  # facts or another record that cannot be read must not hide this run's result
        lines.append(f"verdict: none, {error}")
    return "\n".join(_wrapped(line) for line in lines if line)


def _meaning(record: dict[str, Any], known: list[dict[str, Any]]) -> list[str]:
    if record["status"] != "finished":
        return [f"verdict: none, a {record['status']} run is only set beside the authors' curve", _curve(record)]
    if record["scale"] != "paper":
        changed = overrides(record)
        return [
            f"verdict: {NOT_COMPARABLE} with the paper ({record['scale']} scale)",
            f"standing: {standing(record, known)}",
            f"changed on the command line: {', '.join(changed)}" if changed else "",
        ]
    return [*_verdicts(record, known), _curve(record)]


def _verdicts(record: dict[str, Any], known: list[dict[str, Any]]) -> list[str]:
    cells, stages = cells_of(record), stages_of(record)
    if not cells and stages:
        return [*(_part_of(study, stage) for study, stage in stages), f"standing: {standing(record, known)}"]
    if not cells:
        return [
            f"verdict: {NOT_COMPARABLE}, no table of the paper has this cell",
            f"standing: {standing(record, known)}",
        ]
    lines, numbers = [], load_reported()
    for table, cell in cells:
        reported = reported_for(numbers, cell, table.name)
        verdict = judge(runs_of(cell, known), cell, reported, table.seeds)
        lines.append(f"verdict: {verdict.text}")
        lines += [f"assumed: {'; '.join(verdict.assumptions)}"] if verdict.assumptions else []
    return lines


def _part_of(study: Study, stage: Stage) -> str:
    return (
        f"verdict: none of one run; stage {stage.name} of {study.name} has {len(stage.seeds)} seeds, judged together "
        f"by: python scripts/make_tables.py {study.name}"
    )


def _what_ran(record: dict[str, Any]) -> str:
    config = record["config"]
    budget = str(budget_of(record))
    batch = f"batch {record['batch_size']}"
    if record["scale"] != "paper":
        budget += f" -> {budget_of(config['schedule']).count:,}"
        batch += f" -> {config['global_batch_size']}"
    cooldown = config["schedule"].get("cooldown_epochs", 0)
    cooldown_text = f" (+ {cooldown} cool-down)" if cooldown else ""
    return (
        f"{record['exp']} {record['optim']}: recipe {record['recipe']}, {record['scale']} scale, "
        f"{budget}{cooldown_text}, {batch}, seed {record['seed']}"
    )


def _result(record: dict[str, Any]) -> str:
    progress, unit = record["progress"], budget_of(record).unit.removesuffix("s")
    total = progress[f"total_{unit}s"]
    stopped = "" if record["status"] == "finished" else f" at {unit} {progress[unit]:,} of {total:,}"
    shown = [
        f"{metric} {float(values['last']):.2f} last, {float(values['best']):.2f} best" + _selected(record, metric)
        for metric, values in record["summary"].items()
        if values["last"] is not None
    ]
    return f"{record['status']}{stopped}: {'; '.join(shown) or 'nothing evaluated'}"


def _selected(record: dict[str, Any], metric: str) -> str:
    """A metric's value where another was best, if it is read there."""
    number = record["summary"][metric].get("selected")
    if number is None:
        return ""
    return f", {float(number):.2f} at the best {record['config']['metrics'][metric]['selected_by']}"


def _curve(record: dict[str, Any]) -> str:
    """The last evaluation beside the authors' curve, or why there is nothing to set beside it; empty where they have no
    number near it."""
    config, scale, changed = record["config"], record["scale"], overrides(record)
    released = config.get("curve")  # of a run that left its recipe or the paper's scale the configuration names none
    if changed or scale != "paper":
        released = released or released_for(record)
    if not released:
        return "curve: the authors released none for this cell"
    if scale != "paper":
        return f"curve: not compared at {scale} scale"
    if changed:
        return (
            "curve: the authors released one for this cell, but this run cannot be held against it: the command line "
            f"changed {', '.join(changed)}"
        )
    unit, every = budget_of(record).unit.removesuffix("s"), config.get("evaluation", {}).get("every", 1)
    done, total = record["progress"][unit], record["progress"][f"total_{unit}s"]
    evaluated = total if done == total else done - done % every
    if not evaluated:
        return "curve: not compared before the first evaluation"
    measured = {metric: values["last"] for metric, values in record["summary"].items()}
    last = {metric: float(number) for metric, number in measured.items() if number is not None}
    line = on_track(released, evaluated - 1, last, evaluated)
    return f"curve: {line}" if line else ""


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
