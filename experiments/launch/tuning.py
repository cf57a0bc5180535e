"""A tuning, trials before what they choose: `python run.py tune=equal`. The same command again goes on.

Of each experiment and optimizer the fresh runs are known once all trials have ended, from the records that there are
then. A setting whose trial diverged is never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.launch.configurations import configurations
from experiments.launch.dispatch import dispatch
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE
from experiments.schema import paths
from experiments.schema.point import Point
from experiments.schema.tunings import Candidate, Settings, candidates
from experiments.schema.typed import show
from experiments.verdict.records import sealed_records
from experiments.verdict.tuning import best, trials_of, tuning_metric


def run(asked: Sequence[Point], configs: Path = paths.CONFIGS) -> int:
    """Run (or plan) the tuning that points of a command line name. Returns the exit status of the command; failed runs
    do not keep others from theirs, a stop ends the command. Raises UserError before any run for what cannot be one."""
    found = candidates(asked, configs)
    trials = [point for one in found for point in one.trials(configs)]
    judged = sum(len(one.tuning.fresh_seeds) * len(one.tuning.fractions) for one in found)
    for one in found:
        configurations(_fresh(one, one.tuning.combinations(one.optim, one.config.task)[0]), configs)
    print(f"{found[0].tuning.title}: {len(trials)} trials, then {judged} runs on fresh seeds", flush=True)
    status = dispatch(configurations(trials, configs))
    plans = found[0].config.launch.name == "plan"
    if status in (INTERRUPTED, REQUEUE) or not judged:
        return status
    records = sealed_records()
    chosen = [(one, _chosen(one, records)) for one in found]
    for one, settings in chosen:
        print(f"{one.exp} {one.optim}: {_said(settings)}", flush=True)
    fresh = [point for one, settings in chosen if settings for point in _fresh(one, settings)]
    worst = status if plans or all(settings for _, settings in chosen) else FAILED
    if not fresh:
        return worst
    status = dispatch(configurations(fresh, configs))
    return worst if status == DONE else status


def _fresh(one: Candidate, settings: Settings) -> list[Point]:
    return [point for budget in one.tuning.fractions for point in one.fresh(settings, budget)]


def _chosen(one: Candidate, records: Sequence[dict[str, Any]]) -> Settings | None:
    trial = best(trials_of(one, records), tuning_metric(one.tuning, one.trial_config())[1])
    return trial.settings if trial else None


def _said(settings: Settings | None) -> str:
    if settings is None:
        return "no setting before all its trials have ended, or because at each of them a run diverged"
    return ", ".join(f"{key}={show(value)}" for key, value in settings.items())
