"""Read what a command line asks of a study: some of its stages, and the runs of a stage as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion
from experiments.schema.point import Point
from experiments.schema.studies import Stage, Study, study_names

# Choices that pick stages, or a part of each, with what a stage says of them.
PICKS = {
    "stage": lambda stage: [stage.name],
    "exp": lambda stage: stage.exps,
    "optim": lambda stage: stage.optims,
    "recipe": lambda stage: [stage.recipe],
    "epochs": lambda stage: [stage.epochs],
    "seed": lambda stage: stage.seeds,
}


def ask_for_a_study(points: Sequence[Point], configs: Path = paths.CONFIGS) -> bool:
    """Whether points of a command line name a study."""
    tables = {point.choices["table"] for point in points if "table" in point.choices}
    return bool(tables) and not tables.isdisjoint(study_names(configs))


def picked(study: Study, point: Point) -> list[Stage]:
    """The stages that `point` asks for, each with the experiments, optimizers and seeds that it asks for.

    Raises UserError where no stage has what is asked for, and for a learning rate: that is the study's to decide.
    """
    if "optim.lr" in point.values:
        raise UserError(
            f"optim.lr={point.values['optim.lr']} (command line): the stages of table={study.name} decide the rates; "
            "leave it out, or run the experiment without table="
        )
    given = {**point.choices, **point.values}
    wanted = {key: given[key] for key in PICKS if key in given}
    for key, value in wanted.items():
        known = sorted({item for stage in study.stages for item in PICKS[key](stage)}, key=str)
        if value not in known:
            raise UserError(
                f"{key}={value} (command line): no stage of table={study.name} has it"
                f"{suggestion(str(value), list(map(str, known)))}"
            )
    stages = [stage for stage in study.stages if all(value in PICKS[key](stage) for key, value in wanted.items())]
    if not stages:
        asked = ", ".join(f"{key}={value}" for key, value in wanted.items())
        raise UserError(f"{asked} (command line): no stage of table={study.name} has all of these")
    parts = {"exps": "exp", "optims": "optim", "seeds": "seed"}
    narrow: dict[str, Any] = {field: [wanted[key]] for field, key in parts.items() if key in wanted}
    return [replace(stage, **narrow) for stage in stages]


def points(stage: Stage, point: Point, chosen: Mapping[tuple[str, str], float] | None = None) -> list[Point]:
    """The runs of `stage`: games first, then optimizers, rates and seeds.

    `chosen` has the rate of each (experiment, optimizer) for a stage that takes them from another; those that are not
    in it are left out. Seeds share a process unless the command line says how many do.
    """
    rest = {key: value for key, value in point.choices.items() if key not in ("table", "stage")}
    common = {"launch.seeds_per_process": len(stage.seeds), **point.values}
    found = []
    for exp in stage.exps:
        for optim in stage.optims:
            choices = {**rest, "exp": exp, "optim": optim, "recipe": stage.recipe, "epochs": stage.epochs}
            for rate in _rates(stage, (chosen or {}).get((exp, optim))):
                own: dict[str, Any] = {} if rate is None else {"optim.lr": rate}
                found += [Point(choices, {**common, **own, "seed": seed}) for seed in stage.seeds]
    return found


def _rates(stage: Stage, chosen: float | None) -> Sequence[float | None]:
    if stage.lr is None:
        return [None]
    if isinstance(stage.lr, str):
        return [] if chosen is None else [chosen]
    return stage.lr
