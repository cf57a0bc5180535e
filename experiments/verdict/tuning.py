"""Which setting a tuning chose, by a rule fixed before its runs: of trials that have all ended, the best finite value.

Trials are those of a tuning (`experiments.schema.tunings`), or the rates of a study's stage that has a list of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.schema.point import Point
from experiments.schema.resolve import resolve
from experiments.schema.studies import Stage
from experiments.schema.tunings import BEST, Candidate, Settings, Tuning
from experiments.verdict import records as of_record
from experiments.verdict.arms import make_arm

METRIC = "episode_return"
FAILED = float("-inf")  # the mean of a rate that failed


class Trial(NamedTuple):
    """One setting: `value` is what it is compared by, None while a run of it has not ended, NaN where one ended without
    a finite value; `run` is its name, if it was begun."""

    settings: Settings
    run: str | None = None
    value: float | None = None


def best(trials: Sequence[Trial], direction: str) -> Trial | None:
    """The trial with the smallest (`direction` "min") or largest value, the first of equal ones; None while a run is
    missing, and where all failed."""
    if any(trial.value is None for trial in trials):
        return None
    sign = 1 if direction == "min" else -1
    finite = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
    return min(finite, key=lambda trial: sign * (trial.value or 0.0), default=None)


def at_edge(chosen: Settings, trials: Sequence[Trial]) -> dict[str, str]:
    """Settings whose chosen value is the `lowest` or `highest` of at least three: the best may lie outside."""
    found = {}
    for key, value in chosen.items():
        tried = {trial.settings[key] for trial in trials}
        if len(tried) > 2 and value in (min(tried), max(tried)):
            found[key] = "lowest" if value == min(tried) else "highest"
    return found


def trials_of(candidate: Candidate, records: Iterable[dict[str, Any]]) -> list[Trial]:
    """Every trial of a candidate, in its order, with what `records` say of it: the first attempt of the configuration
    that it composes to today. Raises UserError for a record without its events."""
    tuning = candidate.tuning
    own = [one for one in records if (one.get("exp"), one.get("seed")) == (candidate.exp, tuning.seed)]
    settings = tuning.combinations(candidate.optim, candidate.config.task)
    return [_trial(tuning, each, run_of(point, own)) for each, point in zip(settings, candidate.trials(), strict=True)]


def run_of(point: Point, records: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The record of the run that a point composes to, its first attempt; None where there is none."""
    digest = config_digest(resolve(point.choices, point.values))
    own = [one for one in records if one["config_digest"] == digest and one["seed"] == point.values["seed"]]
    return next(iter(of_record.one_experiment(own)), None)


def tuning_metric(tuning: Tuning, config: RunConfig | Mapping[str, Any]) -> tuple[str, str]:
    """The metric that trials of this configuration (or its tree) are compared by, and its direction: the tuning's own,
    or that by which the experiment selects its test value, or what it reports."""
    metrics = config.metrics if isinstance(config, RunConfig) else config["metrics"]
    held = {name: vars(one) if not isinstance(one, Mapping) else one for name, one in metrics.items()}
    selecting = [one["selected_by"] for one in held.values() if one.get("selected_by")]
    name = tuning.metric or next(iter([*selecting, *held]))
    return name, held[name]["direction"]


def judged_metric(config: RunConfig) -> tuple[str, str]:
    """The metric that fresh runs are judged by, and its direction: the one whose value is selected on validation data
    where there is one, else the first that the experiment reports."""
    selected = [name for name, metric in config.metrics.items() if metric.selected_by]
    name = next(iter([*selected, *config.metrics]))
    return name, config.metrics[name].direction


def _trial(tuning: Tuning, settings: Settings, record: dict[str, Any] | None) -> Trial:
    if record is None:
        return Trial(settings)
    metric, direction = tuning_metric(tuning, record["config"])
    limit = tuning.limit(record["scale"])
    if record["status"] == "diverged":
        return Trial(settings, record["run"], math.nan)
    if record["status"] != "finished" and (limit is None or record["progress"]["epoch"] < limit):
        return Trial(settings, record["run"])
    if tuning.value != BEST:
        value = of_record.value(record, metric)
        return Trial(settings, record["run"], math.nan if value is None else value)
    counted = [
        float(event[metric]) for event in of_record.evaluations(record) if limit is None or event["epoch"] < limit
    ]
    finite = [number for number in counted if math.isfinite(number)]
    return Trial(settings, record["run"], (min if direction == "min" else max)(finite, default=math.nan))


class Choice(NamedTuple):
    """The chosen `rate` (None: every rate failed), and the mean over tuning seeds at each rate of the grid, in the
    order of rates; of a rate that failed the mean is -inf, and `failures` names the runs that ended without a value."""

    rate: float | None
    means: dict[float, float]
    failures: dict[float, tuple[str, ...]]

    @property
    def at_edge(self) -> str:
        """`lowest` or `highest` where the best rate may lie outside the grid, else empty."""
        if self.rate is None or len(self.means) == 1:
            return ""
        return {min(self.means): "lowest", max(self.means): "highest"}.get(self.rate, "")


def choose_rate(
    records: Iterable[dict[str, Any]],
    stage: Stage,
    exp: str,
    optim: str,
    metric: str = METRIC,
    scale: str = "paper",
) -> Choice | None:
    """The rate of `stage.lr` with the highest mean, over the stage's seeds, of the last evaluation's `metric`; of
    equal ones the smaller. None while a run of the grid is missing.

    A rate fails, and is never chosen, where a non-finite loss ended one of its runs or one finished without a finite
    value. Raises UserError for a stage that has no list of rates.
    """
    if not isinstance(stage.lr, list):
        raise UserError(f"stage {stage.name} has no list of rates to choose from")
    known = list(records)
    trials: list[Trial] = []
    failures: dict[float, tuple[str, ...]] = {}
    for rate in sorted(stage.lr):
        arm = make_arm(stage, exp, optim, known, metric, rate, scale)
        if not arm.ended:
            return None
        if arm.failed:
            failures[rate] = arm.failed
        trials.append(Trial({"optim.lr": rate}, value=math.nan if arm.failed else statistics.fmean(arm.values)))
    chosen = best(trials, "max")
    means = {trial.settings["optim.lr"]: trial.value or 0.0 for trial in trials}
    means |= dict.fromkeys(failures, FAILED)
    return Choice(chosen.settings["optim.lr"] if chosen else None, means, failures)
