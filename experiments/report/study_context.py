"""The text around the numbers of a study says how to read them, what would overturn them and how they came to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from experiments.report.study_results import ProtocolResult, StudyResult, arms, below_untuned
from experiments.report.study_words import counted, estimate, games, listed, number, rate, reach, share
from experiments.schema.studies import Stage
from experiments.schema.typed import show
from experiments.verdict import bootstrap
from experiments.verdict.two_samples import detectable_probability


def rules(result: StudyResult) -> list[str]:
    """By which rules a verdict is reached, and why these."""
    first = result.protocols[0].stage
    base, subject = (result.label(optim) for optim in first.optims)
    return [
        f"One thing is estimated, tested and said: P, the probability that a run with {subject} ends higher than a run "
        f"with {base} (ties count half). Not the difference of means: with returns of which one in ten lies far out, "
        "Welch's test calls equal means different in 26 of 100 comparisons, while the rank test errs in 5 on equal P "
        "(`results/verdicts.md`). In turn a verdict says nothing of means: where one optimizer now and then does "
        "far better, its mean may be the higher one although it usually loses. Means are shown beside.",
        "The test is Mann and Whitney's, two-sided, by the exact permutation distribution, ties included. It is exact "
        "where the optimizer makes no difference at all; where P is 0.5 and the two spread very unlike each other it "
        "errs in 6 to 11 of 100 comparisons instead of 5. Intervals of P are Newcombe's (method 5).",
        "A game is judged when all its planned seeds have ended. A run that a non-finite loss ended ranks below all "
        "others, also where all have.",
        "*Worse* and *better* in a game go by Holm's correction over all planned games of a protocol: one that has not "
        "been judged counts as p = 1, so that no verdict changes because another game was run. Intervals beside them "
        "are at 1 - 5 % / games, so that all together hold at 95 %.",
        "The claim, better in every game, is refuted by one game that is worse; supported where all planned games are "
        "better at 5 % each (all of them must pass, so nothing is corrected: an intersection-union test); else open: "
        "k of m, where k of the m planned games are better at 5 %, and none is worse.",
        "A replication on other seeds is told beside its protocol. It is no further look at the same claim, and no "
        "further game.",
    ]


def legend(result: StudyResult) -> list[str]:
    """Explain every column."""
    first = result.protocols[0].stage
    base, measure = result.label(first.optims[0]), result.study.measure or result.study.metric
    return [
        f"`mean` is the mean over seeds of {measure}, with Student's 95 % interval, of one arm by itself; `mean over "
        "training` is the area under the evaluation curve over its length. A run without a finite return is left out "
        "of both.",
        "`interquartile mean` has the percentile interval of a stratified bootstrap with rliable, "
        f"{bootstrap.REPETITIONS:,} repetitions, seeded. With 10 seeds of normal spread such an interval holds the "
        "truth in about 93 of 100 cases, not 95.",
        f"Normalised returns: 0 is the mean return of uniformly random actions (`results/random_policy/returns.yaml`), "
        f"1 the mean final return of {base} with {first.title}; a game counts when all its seeds have ended, and a run "
        "that failed counts with the lowest return of its game. The mean over games of P has the interval that the "
        "games' Newcombe intervals give (MOVER), at 95 %.",
        *rules(result),
    ]


def overturning(result: StudyResult) -> list[str]:
    """List what this result does not cover, from its numbers where they say how much."""
    lines = []
    for protocol in result.protocols:
        missing = [game for game in protocol.protocol.games if game.comparison is None]
        if missing and protocol.protocol.judged:
            lines.append(
                f"**More games.** With {protocol.stage.title}, {reach(protocol)}; {games(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing."
            )
    first = result.protocols[0]
    n, family = len(first.stage.seeds), len(first.protocol.games)
    corrected, alone = detectable_probability(n, n, family), detectable_probability(n, n)
    lines.append(
        f"**More seeds.** {n} runs of each find, in 80 of 100 repetitions, a P of {share(corrected)} or more (or "
        f"{share(1 - corrected)} or less) after Holm's correction, and of {share(alone)} or more at 5 %: smaller "
        "differences are likelier missed than found, and *no difference detected* is no evidence for their absence."
    )
    waiting = [f"with {protocol.stage.title}" for protocol in result.protocols if not protocol.protocol.judged]
    if waiting:
        lines.append(f"**The rest of the study.** Nothing has been judged yet {'; '.join(waiting)}.")
    for protocol in result.protocols:
        if isinstance(protocol.stage.lr, str):
            grid = result.study.stage(protocol.stage.lr)
            length = "full length" if grid.epochs == protocol.stage.epochs else f"{grid.epochs} epochs"
            rates = sorted(grid.lr) if isinstance(grid.lr, list) else []
            lines.append(
                f"**A larger tuning budget.** Rates are chosen from {listed([rate(value) for value in rates])} on "
                f"{counted(len(grid.seeds), 'seed')}, with runs of {length}{_left_alone(grid)}."
                + _limit(result, protocol)
            )
    return lines + result.study.would_overturn


def _left_alone(grid: Stage) -> str:
    """Name what a grid of rates does not tune, where the study says so."""
    return f"; {grid.left_alone} are left as they are" if grid.left_alone else ""


def _limit(result: StudyResult, protocol: ProtocolResult) -> str:
    """The chosen rates that ended below the recipe's own, as a sentence; empty without any."""
    shown = []
    for game, arm, own in below_untuned(result, protocol):
        ended = estimate(protocol.summaries[game.exp, arm.optim].mean)
        shown.append(
            f"{game.name} ({result.label(arm.optim)}: {rate(arm.rate)} ended at {ended}, {rate(own.rate)} had ended at "
            f"{number(fmean(own.values))} on other seeds)"
        )
    return f" The limit of this shows in {listed(shown)}." if shown else ""


def conditions(result: StudyResult) -> list[str]:
    """Hardware, versions and code of the runs behind the verdicts, as their records say."""
    records = [
        record
        for protocol in result.protocols
        for game in protocol.protocol.games
        for arm in arms(game)
        for record in arm.records
    ]
    if not records:
        return ["Nothing has been run yet."]
    found = {
        "processor": _distinct(f"{r['hardware']['cpu']}, {r['threads']} thread(s)" for r in records),
        "simulator": _distinct(
            f"engine {r['data'].get('engine')} {r['data'].get('engine_version')}, mujoco "
            f"{r['data'].get('mujoco_version')}, models of gymnasium {r['data'].get('gymnasium_version')}"
            for r in records
        ),
        "software": _distinct(
            f"Python {r['python']}, torch {r['packages'].get('torch')}, numpy {r['packages'].get('numpy')}"
            for r in records
        ),
        "optimizers": _distinct(_optimizer(r) for r in records),
        "code": _distinct(_code(r["code"]) for r in records),
    }
    runs = f"{len(records)} runs behind the verdicts, {_core_hours(records):.1f} core-hours"
    return [runs, *(f"{what}: {'; '.join(texts)}" for what, texts in found.items())]


def _core_hours(records: Sequence[dict[str, Any]]) -> float:
    """Hours of one core. A record has the wall time of the whole batch that it was trained in."""
    batches = (max(1, len(record["split"].get("seeds", []))) for record in records)
    seconds = (record["wall_seconds"] * record["threads"] for record in records)
    return sum(whole / size for whole, size in zip(seconds, batches, strict=True)) / 3600


def _optimizer(record: dict[str, Any]) -> str:
    """Class, implementation and hyper-parameters of a run, but the rate."""
    settings, ran = record["config"]["optim"], record["optimizer"]
    shown = (f", {key} {show(settings[key])}" for key in ("betas", "eps", "weight_decay") if key in settings)
    return f"{ran['class']} ({ran['implementation']}{''.join(shown)})"


def _code(code: dict[str, Any]) -> str:
    revision = f"revision {(code.get('revision') or 'unknown')[:12]}"
    return revision + (", with changes that were not committed" if code.get("diff_digest") else "")


def _distinct(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts))
