"""The runs of one arm of a study: an experiment with an optimizer at one rate, as sealed records hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.schema.errors import UserError
from experiments.schema.studies import Stage
from experiments.verdict import records as of_record


@dataclass(frozen=True)
class Curve:
    """Evaluations of one run: `values` at `steps` environment steps, in order."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Arm:
    """Finished runs of one arm, one record and one value of the metric for each seed, ordered by seed.

    `rate` is None where no rate is known yet; `planned` are the seeds of its stage. Runs that finished without a finite
    value (`without_value`) and runs that a non-finite loss ended (`diverged`) have none in `values`.
    """

    exp: str
    optim: str
    rate: float | None
    planned: tuple[int, ...]
    records: tuple[dict[str, Any], ...] = ()
    values: tuple[float, ...] = ()
    without_value: tuple[str, ...] = ()
    diverged: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of seeds with a value."""
        return len(self.values)

    @property
    def complete(self) -> bool:
        """Whether every planned seed has a value."""
        return self.n == len(self.planned)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the runs that ended without a value."""
        return self.without_value + self.diverged

    @property
    def ranked(self) -> tuple[float, ...]:
        """A value for every run that ended: one that failed is lower than all others, -inf."""
        return (*self.values, *[-math.inf] * len(self.failed))

    @property
    def ended(self) -> bool:
        """Whether every planned seed has ended, with a value or without."""
        return self.n + len(self.failed) == len(self.planned)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of the runs behind `values`."""
        return tuple(record["run"] for record in self.records)


def make_arm(
    stage: Stage,
    exp: str,
    optim: str,
    records: Iterable[dict[str, Any]],
    metric: str,
    rate: float | None = None,
    scale: str = "paper",
) -> Arm:
    """The arm of `stage` for `exp` and `optim`: at `rate` where the stage has several, else at the recipe's own.

    It holds runs of the recipe as it composes today, and of each seed the first attempt."""
    runs = [record for record in records if belongs(record, stage, exp, optim, rate, scale)]
    kept = of_record.one_experiment(runs)
    lost = [record for record in kept if of_record.failed(record, metric)]
    diverged = [record for record in lost if record["status"] == "diverged"]
    finished = [record for record in kept if record["status"] == "finished"]
    valued = [record for record in finished if of_record.value(record, metric) is not None]
    known = rate if rate is not None else (kept[0]["config"]["optim"]["lr"] if kept else None)
    return Arm(
        exp=exp,
        optim=optim,
        rate=known,
        planned=tuple(sorted(stage.seeds)),
        records=tuple(valued),
        values=tuple(of_record.values(valued, metric)),
        without_value=tuple(record["run"] for record in finished if record not in valued),
        diverged=tuple(record["run"] for record in diverged),
    )


def belongs(
    record: dict[str, Any], stage: Stage, exp: str, optim: str, rate: float | None, scale: str = "paper"
) -> bool:
    """Whether `record` is a run of this arm at `scale`, ended or not, changed on the command line in nothing but the
    rate, and in that only where `rate` asks for one."""
    wanted = (exp, optim, stage.recipe, stage.epochs, scale)
    if tuple(record.get(key) for key in ("exp", "optim", "recipe", "epochs", "scale")) != wanted:
        return False
    changed = {text.partition("=")[0] for text in of_record.overrides(record)}
    if record["seed"] not in stage.seeds or changed - {"optim.lr"}:
        return False
    if rate is None:
        return not changed
    return of_record.same_setting(record["config"]["optim"]["lr"], rate)


def read_curve(record: dict[str, Any], metric: str) -> Curve:
    """The evaluations of a sealed run, from its events. Raises UserError when they are not those that were sealed."""
    evaluations = of_record.evaluations(record)
    return Curve(
        tuple(int(event["environment_steps"]) for event in evaluations),
        tuple(float(event[metric]) for event in evaluations),
    )


def read_curves(arm: Arm, metric: str) -> tuple[tuple[int, ...], list[tuple[float, ...]]]:
    """Steps of the evaluations, and each seed's values at them. Raises UserError where seeds differ in steps."""
    curves = [read_curve(record, metric) for record in arm.records]
    steps = {curve.steps for curve in curves}
    if len(steps) > 1:
        raise UserError(f"runs {_few(arm.runs)} were evaluated at different steps")
    return (steps.pop() if steps else ()), [curve.values for curve in curves]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
