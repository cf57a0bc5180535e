"""A study as CSV in long format: one row for each protocol, game, optimizer and seed, with the name of its run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from experiments.report.study_results import ProtocolResult, StudyResult, arms
from experiments.schema.studies import Stage
from experiments.verdict.arms import Arm, make_arm

FIELDS = ("stage", "exp", "game", "optim", "lr", "recipe", "epochs", "seed", "final", "curve_mean", "verdict", "run")


def long(result: StudyResult, records: list[dict[str, Any]]) -> str:
    """The CSV text, header first. `final` is the metric at the last evaluation, `curve_mean` the area under the run's
    curve over its length; `verdict` is that of its game and protocol, and empty for runs that only chose a rate."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    with_replications = [each for protocol in result.protocols for each in (protocol, *protocol.replications)]
    judged = {protocol.stage.name: protocol for protocol in with_replications}
    for stage in result.study.stages:
        if stage.name in judged:
            writer.writerows(_judged(judged[stage.name]))
        else:
            writer.writerows(_tuning(result, stage, records))
    return text.getvalue()


def _judged(protocol: ProtocolResult) -> Iterator[dict[str, Any]]:
    for game in protocol.protocol.games:
        for arm in arms(game):
            summary = protocol.summary(arm)
            areas = summary.areas if summary else ()
            for row, area in zip(_rows(protocol.stage, game.name, arm), areas, strict=True):
                yield {**row, "curve_mean": _rounded(area), "verdict": game.kind}


def _tuning(result: StudyResult, stage: Stage, records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    names = {game.exp: game.name for protocol in result.protocols for game in protocol.protocol.games}
    rates: list[float] = sorted(stage.lr) if isinstance(stage.lr, list) else []
    for exp in stage.exps:
        for optim in stage.optims:
            for rate in rates:
                arm = make_arm(stage, exp, optim, records, result.study.metric, rate)
                yield from _rows(stage, names.get(exp, exp), arm)


def _rows(stage: Stage, game: str, arm: Arm) -> Iterator[dict[str, Any]]:
    for record, value in zip(arm.records, arm.values, strict=True):
        yield {
            "stage": stage.name,
            "exp": arm.exp,
            "game": game,
            "optim": arm.optim,
            "lr": arm.rate,
            "recipe": stage.recipe,
            "epochs": stage.epochs,
            "seed": record["seed"],
            "final": _rounded(value),
            "run": record["run"],
        }


def _rounded(value: float) -> float:
    return round(value, 6)
