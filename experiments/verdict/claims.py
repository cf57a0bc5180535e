"""The claim of a study, "a higher value in every game", judged from sealed records: per game, and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.experiment_file import read_experiment
from experiments.schema.studies import Stage, Study
from experiments.verdict.arms import Arm, make_arm
from experiments.verdict.equal_data import of_equal_data
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.student_t import LEVEL
from experiments.verdict.today import of_today
from experiments.verdict.tuning import Choice, choose_rate
from experiments.verdict.two_samples import TwoSamples, compare, holm

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference detected"
UNFINISHED = "unfinished"
REFUTED, SUPPORTED, OPEN = "refuted", "supported", "open"
SIGNIFICANT = 1 - LEVEL


@dataclass(frozen=True)
class Game:
    """One game under one protocol: the arms of both optimizers and what their comparison says of the second.

    `adjusted` is Holm's p over all planned games of the protocol, and `kind` goes by it; None where nothing was judged.
    """

    exp: str
    name: str
    baseline: Arm
    subject: Arm
    kind: str
    comparison: TwoSamples | None = None
    adjusted: float | None = None

    @property
    def ended(self) -> bool:
        """Whether every planned seed of both optimizers has ended."""
        return self.baseline.ended and self.subject.ended

    @property
    def begun(self) -> bool:
        """Whether a seed of either optimizer has ended."""
        return bool(self.baseline.ranked or self.subject.ranked)

    @property
    def in_favour(self) -> bool:
        """Whether the subject is better at 5 %, unadjusted."""
        return in_favour(self.comparison)


@dataclass(frozen=True)
class Protocol:
    """One judged stage: its games in the file's order, the verdict on the claim, and the rates that were chosen for
    it, by experiment and optimizer (None: not decided yet). `replications` are the stages that repeat it on other
    seeds: told beside it, no part of its verdict."""

    stage: Stage
    kind: str
    games: tuple[Game, ...]
    choices: dict[tuple[str, str], Choice | None] = field(default_factory=dict)
    replications: tuple[Protocol, ...] = ()

    def of_kind(self, *kinds: str) -> list[Game]:
        """The games with one of these verdicts."""
        return [game for game in self.games if game.kind in kinds]

    @property
    def judged(self) -> list[Game]:
        """The games all of whose planned seeds have ended."""
        return [game for game in self.games if game.comparison is not None]

    @property
    def in_favour(self) -> list[Game]:
        """The games that speak for the claim, at 5 % each, unadjusted."""
        return [game for game in self.games if game.in_favour]

    @property
    def begun(self) -> bool:
        """Whether any run of it is there."""
        return any(game.begun for game in self.games)

    @property
    def level(self) -> float:
        """Return the level of the intervals beside its verdicts: 95 % for all its planned games together
        (Bonferroni)."""
        return corrected_level(len(self.games))


def corrected_level(comparisons: int) -> float:
    """The level of each of so many intervals that together hold the truth with 95 %."""
    return 1 - SIGNIFICANT / max(1, comparisons)


def judge_study(study: Study, records: Sequence[dict[str, Any]]) -> list[Protocol]:
    """Every stage that is judged (all but those that only choose rates or replicate another), in the study's order,
    each with its replications."""
    judged = [stage for stage in study.stages if not isinstance(stage.lr, list) and not stage.replicates]
    return [
        replace(
            judge_stage(study, stage, records),
            replications=tuple(
                judge_stage(study, other, records) for other in study.stages if other.replicates == stage.name
            ),
        )
        for stage in judged
    ]


def judge_stage(study: Study, stage: Stage, records: Sequence[dict[str, Any]]) -> Protocol:
    """Judge one stage, whose two optimizers are the baseline and the subject of the claim, in this order.

    A game is judged when all its planned seeds have ended, those that failed among them as the lowest, by the two-sided
    exact Mann-Whitney test: better or worse goes by Holm's correction over all planned games of the stage, those that
    have not been judged yet at p = 1. The claim, better in every game, is refuted by one game that is worse, supported
    where all planned games are better at 5 % each (an intersection-union test: no correction is needed, because every
    one of them must pass), and open otherwise. Raises UserError for a stage of other than two optimizers.
    """
    if len(stage.optims) != 2:
        raise UserError(f"stage {stage.name} compares two optimizers, not {len(stage.optims)}")
    choices: dict[tuple[str, str], Choice | None] = {}
    arms: list[tuple[str, Arm, Arm]] = []
    for exp in stage.exps:
        pair, own = [], _comparable(stage, exp, records)
        for optim in stage.optims:
            rate = None
            if isinstance(stage.lr, str):
                choosing = study.stage(stage.lr)
                choice = choose_rate(_comparable(choosing, exp, records), choosing, exp, optim, study.metric)
                choices[exp, optim] = choice
                if choice is None or choice.rate is None:
                    pair.append(Arm(exp, optim, None, tuple(sorted(stage.seeds))))
                    continue
                rate = choice.rate
            pair.append(make_arm(stage, exp, optim, own, study.metric, rate))
        arms.append((exp, pair[0], pair[1]))
    compared = {
        exp: compare(subject.ranked, baseline.ranked, corrected_level(len(arms)))
        for exp, baseline, subject in arms
        if baseline.ended and subject.ended
    }
    found = judge_games([compared.get(exp) for exp, _, _ in arms])
    games = tuple(
        Game(exp, label_of(exp), baseline, subject, kind, compared.get(exp), adjusted)
        if exp in compared
        else Game(exp, label_of(exp), baseline, subject, UNFINISHED if baseline.ranked or subject.ranked else NOT_RUN)
        for (exp, baseline, subject), (kind, adjusted) in zip(arms, found, strict=True)
    )
    kind = claim_of([game.kind for game in games], [game.in_favour for game in games])
    return Protocol(stage, kind, games, choices)


def _comparable(stage: Stage, exp: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of one game that may be held against each other, whichever optimizer or rate: by today's recipe, and on
    equal data, which is one simulator of one version."""
    wanted = (exp, stage.recipe, stage.epochs)
    runs = [
        record
        for record in records
        if tuple(record.get(key) for key in ("exp", "recipe", "epochs")) == wanted
        and record["scale"] == "paper"
        and record["optim"] in stage.optims
        and record["seed"] in stage.seeds
    ]
    return of_equal_data(of_today(runs))


def judge_games(planned: Sequence[TwoSamples | None]) -> list[tuple[str, float]]:
    """The verdict on each of the `planned` games (None: not judged yet) and its p after Holm's correction over all of
    them."""
    adjusted = holm([game.p if game else 1.0 for game in planned])
    found = []
    for game, p in zip(planned, adjusted, strict=True):
        significant = game is not None and p <= SIGNIFICANT
        kind = (BETTER if game.probability > 0.5 else WORSE) if game and significant else NO_DIFFERENCE
        found.append((kind, p))
    return found


def in_favour(game: TwoSamples | None) -> bool:
    """Whether the subject is better at 5 %, unadjusted: what a claim about every game asks of each."""
    return game is not None and game.p <= SIGNIFICANT and game.probability > 0.5


def claim_of(kinds: Sequence[str], favourable: Sequence[bool]) -> str:
    """The verdict on "better in every game" from those on all planned games, and which of them are in its favour."""
    if WORSE in kinds:
        return REFUTED
    if all(favourable):
        return SUPPORTED
    return NOT_RUN if set(kinds) <= {NOT_RUN, UNFINISHED} else OPEN


def label_of(exp: str) -> str:
    """Return the short name by which an experiment goes beside its kin (`HalfCheetah`)."""
    return read_experiment(exp, paths.CONFIGS).get("label", exp)
