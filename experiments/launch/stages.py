"""A study, stage after stage: `python run.py table=f2 scale=paper`. The same command again goes on where it stopped.

The rates of a stage that takes them from another are known when its turn comes, from the records that there are then.
A rate at which a run diverged is never chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.launch.configurations import configurations
from experiments.launch.dispatch import dispatch
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.point import Point
from experiments.schema.resolve import DEFAULTS
from experiments.schema.studies import Stage, Study, load_study
from experiments.schema.study_points import picked, points
from experiments.verdict.records import sealed_records
from experiments.verdict.tuning import Choice, choose_rate


def run(asked: Sequence[Point], configs: Path = paths.CONFIGS) -> int:
    """Run (or plan) the stages of the study that points of a command line name, all of a stage before the next.

    Returns the exit status of the command. Failed runs do not keep others from theirs; a stop ends the command. Raises
    UserError before any run for what no stage has, and for more than one study.
    """
    names = {point.choices.get("table") for point in asked}
    if len(names) > 1:
        raise UserError(
            f"table={','.join(map(str, names))} (command line): one study at a time, and no table beside it"
        )
    study = load_study(names.pop(), configs)
    parts = [(stage, point) for point in asked for stage in picked(study, point)]
    for stage, point in parts:
        configurations(points(stage, point, _any_rate(stage)), configs)
    worst = DONE
    for name in dict.fromkeys(stage.name for stage in study.stages):
        own = [part for part in parts if part[0].name == name]
        if own:
            status = _run_stage(study, own, configs)
            if status in (INTERRUPTED, REQUEUE):
                return status
            worst = worst if status == DONE else FAILED
    return worst


def _run_stage(study: Study, parts: Sequence[tuple[Stage, Point]], configs: Path) -> int:
    asked, waiting = [], False
    title = f"{study.name}, stage {parts[0][0].name}"
    for stage, point in parts:
        chosen = _chosen(study, stage, point) if isinstance(stage.lr, str) else {}
        for (exp, optim), choice in chosen.items():
            print(f"{title}: {exp} {optim}: {_said(choice, stage)}", flush=True)
        rates = {key: choice.rate for key, choice in chosen.items() if choice and choice.rate}
        waiting |= len(rates) < len(chosen)
        asked += points(stage, point, rates)
    plans = parts[0][1].choices.get("launch") == "plan"
    status = DONE
    if asked:
        print(f"{title}: {parts[0][0].title or study.title} ({len(asked)} runs)", flush=True)
        status = dispatch(configurations(asked, configs))
    return FAILED if waiting and not plans and status == DONE else status


def _chosen(study: Study, stage: Stage, point: Point) -> dict[tuple[str, str], Choice | None]:
    """Return what stage `stage.lr` chose for each experiment and optimizer of `stage`, None for nothing yet."""
    assert isinstance(stage.lr, str)
    choosing, records = study.stage(stage.lr), sealed_records()
    scale = point.choices.get("scale", DEFAULTS["scale"])
    return {
        (exp, optim): choose_rate(records, choosing, exp, optim, study.metric, scale)
        for exp in stage.exps
        for optim in stage.optims
    }


def _said(choice: Choice | None, stage: Stage) -> str:
    """Say what a choice of stage `stage.lr` came to."""
    if choice is None:
        return f"no learning rate before all runs of stage {stage.lr} are done"
    failed = ", ".join(f"{rate:g} ({', '.join(runs)})" for rate, runs in choice.failures.items())
    if choice.rate is None:
        return f"no learning rate, because at every one of stage {stage.lr} a run diverged: {failed}"
    return f"learning rate {choice.rate:g}" + (f"; failed, because a run diverged: {failed}" if failed else "")


def _any_rate(stage: Stage) -> dict[tuple[str, str], float]:
    """A rate for everything, to see whether the rest of a command is right."""
    return {(exp, optim): 1e-3 for exp in stage.exps for optim in stage.optims}
