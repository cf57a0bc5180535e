"""Studies: tables of ours whose claim needs many seeds, or a choice first, as a list of stages.

A stage is every combination of its experiments, optimizers, learning rates and seeds. A stage whose `lr` names
another one is run at the rate that was chosen there (`experiments.verdict.tuning`), on seeds that choice never saw.
"""

from __future__ import annotations

import functools
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from experiments.schema import names, paths
from experiments.schema.errors import UserError, suggestion
from experiments.schema.sources import read


@dataclass(frozen=True)
class Stage:
    """A stage that is judged has two optimizers: the claim is about the second, against the first.

    `lr` is None for the recipe's own rate, a list for a grid, or the name of the stage that chooses one rate for
    each experiment and optimizer. `epochs` are nominal, as on the command line; `title` goes on after "with".
    `reported` has the id of a number in `results/reported` that the source of the recipe gives for the first optimizer,
    by experiment. `replicates` names a judged stage that this one repeats on other seeds: it is told beside that stage
    and judges no claim. `remarks` are what a reader of its numbers must know, `left_alone` what a grid of rates does
    not tune.
    """

    name: str
    exps: list[str]
    optims: list[str]
    recipe: str
    epochs: int
    seeds: list[int]
    lr: list[float] | str | None = None
    title: str = ""
    reported: dict[str, str] = field(default_factory=dict)
    replicates: str = ""
    remarks: list[str] = field(default_factory=list)
    left_alone: str = ""


@dataclass(frozen=True)
class Study:
    """`metric` is what its stages are judged by, `claim` what they test, as the end of a sentence; `labels` is how
    optimizers are called in print. `changes` tells every change of a rule that was made after results had been seen.

    `measure` says in words what `metric` is, `would_overturn` what a result does not cover beyond what its numbers
    say, `run_again` the commands that repeat the study."""

    name: str
    title: str
    metric: str
    stages: list[Stage]
    claim: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    measure: str = ""
    would_overturn: list[str] = field(default_factory=list)
    run_again: str = ""

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises UserError with the nearest name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = [stage.name for stage in self.stages]
        raise UserError(f"study {self.name} has no stage {name!r}{suggestion(name, known)}")


def study_names(configs: Path = paths.CONFIGS) -> list[str]:
    """Names of the tables that are studies."""
    return [name for name in names.choices("table", configs) if "stages" in read(configs / "table" / f"{name}.yaml")]


@functools.cache
def load_study(name: str, configs: Path = paths.CONFIGS) -> Study:
    """The study of `configs/table/<name>.yaml`. Raises UserError for an unknown name, an unknown or missing key, a
    stage that takes its rate from none before it, that is judged on seeds which chose its rate, or that replicates its
    own seeds."""
    if name not in study_names(configs):
        raise UserError(f"table={name}: no such study{suggestion(name, study_names(configs))}")
    where, tree = f"configs/table/{name}.yaml", dict(read(configs / "table" / f"{name}.yaml"))
    stages: list[Stage] = []
    for entry in tree.pop("stages"):
        stage = Stage(**known_fields(entry, Stage, f"{where}: a stage"))
        _check_choice(stage, stages, where)
        _check_replication(stage, stages, where)
        stages.append(stage)
    return Study(name=name, stages=stages, **known_fields(tree, Study, f"{where}: a study", given=("name", "stages")))


def known_fields(entry: dict[str, Any], kind: Any, what: str, given: tuple[str, ...] = ()) -> dict[str, Any]:
    """`entry`, whose keys are fields of `kind` and complete but for those with a default and those `given`."""
    items = [item for item in fields(kind) if item.name not in given]
    known = [item.name for item in items]
    for key in entry:
        if key not in known:
            raise UserError(f"{what} has no key {key!r}{suggestion(key, known)}")
    needed = [item.name for item in items if item.default is MISSING and item.default_factory is MISSING]
    missing = [key for key in needed if key not in entry]
    if missing:
        raise UserError(f"{what} lacks {', '.join(missing)}")
    return entry


def _check_choice(stage: Stage, before: list[Stage], where: str) -> None:
    if not isinstance(stage.lr, str):
        return
    choosing = next((other for other in before if other.name == stage.lr), None)
    if choosing is None:
        earlier = [other.name for other in before]
        raise UserError(
            f"{where}: stage {stage.name} takes lr from {stage.lr!r}, no stage before it{suggestion(stage.lr, earlier)}"
        )
    seen = sorted(set(stage.seeds) & set(choosing.seeds))
    if seen:
        raise UserError(f"{where}: stage {stage.name} is judged on seeds {seen} that chose its lr in {stage.lr}")
    if not isinstance(choosing.lr, list):
        raise UserError(f"{where}: stage {stage.name} takes lr from {stage.lr}, which has no list of rates")
    for key in ("exps", "optims"):
        if missing := [name for name in getattr(stage, key) if name not in getattr(choosing, key)]:
            raise UserError(f"{where}: stage {stage.name} takes lr from {stage.lr}, which has no {', '.join(missing)}")


def _check_replication(stage: Stage, before: list[Stage], where: str) -> None:
    if not stage.replicates:
        return
    first = next((other for other in before if other.name == stage.replicates), None)
    if first is None:
        earlier = [other.name for other in before]
        raise UserError(
            f"{where}: stage {stage.name} replicates {stage.replicates!r}, no stage before it"
            f"{suggestion(stage.replicates, earlier)}"
        )
    if seen := sorted(set(stage.seeds) & set(first.seeds)):
        raise UserError(f"{where}: stage {stage.name} repeats seeds {seen} of {first.name}, which it replicates")
