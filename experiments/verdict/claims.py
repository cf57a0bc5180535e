"""The claim of a study, "a higher value in every game", judged from sealed records: per game, and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.sources import read
from experiments.schema.studies import Stage, Study
from experiments.verdict.arms import Arm, make_arm
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.statistics import LEVEL
from experiments.verdict.tuning import Choice, choose_rate
from experiments.verdict.two_samples import TwoSamples, compare, holm, smallest_detectable

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference detected"
TOO_FEW = "too few seeds"
REFUTED, SUPPORTED, NOT_SUPPORTED = "refuted", "supported", "not supported"
FEWEST_SEEDS = 6
"""The fewest seeds of each optimizer that are judged: with 6 and 6 the exact test can reach 2/924 = 0.0022, below
0.05/8, Holm's first step over eight games; with 5 and 5 only 2/252 = 0.0079, so no outcome could pass it."""


@dataclass(frozen=True)
class Game:
    """One game under one protocol: the arms of both optimizers and what their comparison says of the second.

    `adjusted` is Holm's p over all games of the protocol, `detectable` the smallest difference of means that these
    samples find with 80 % power at Holm's first step; None where nothing was judged.
    """

    exp: str
    name: str
    baseline: Arm
    subject: Arm
    kind: str
    comparison: TwoSamples | None = None
    adjusted: float | None = None
    detectable: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every planned seed of both optimizers has a value."""
        return self.baseline.complete and self.subject.complete


@dataclass(frozen=True)
class Protocol:
    """One judged stage: its games in the file's order, the verdict on the claim, and the rates that were chosen for
    it, by experiment and optimizer (None: not decided yet)."""

    stage: Stage
    kind: str
    games: tuple[Game, ...]
    choices: dict[tuple[str, str], Choice | None] = field(default_factory=dict)

    def of_kind(self, *kinds: str) -> list[Game]:
        """The games with one of these verdicts."""
        return [game for game in self.games if game.kind in kinds]

    @property
    def judged(self) -> list[Game]:
        """The games with enough seeds."""
        return [game for game in self.games if game.comparison is not None]

    @property
    def begun(self) -> bool:
        """Whether any run of it is there."""
        return any(arm.n for game in self.games for arm in (game.baseline, game.subject))


def judge_study(study: Study, records: Sequence[dict[str, Any]]) -> list[Protocol]:
    """Every stage that is judged (all but those that only choose rates), in the study's order."""
    return [judge_stage(study, stage, records) for stage in study.stages if not isinstance(stage.lr, list)]


def judge_stage(study: Study, stage: Stage, records: Sequence[dict[str, Any]]) -> Protocol:
    """Judge one stage, whose two optimizers are the baseline and the subject of the claim, in this order.

    A game counts with at least FEWEST_SEEDS seeds of each optimizer, those that failed among them as the lowest. The
    tests are two-sided Mann-Whitney tests with Holm's correction over all games of the stage, those that do not count
    yet at p = 1, so that no verdict falls because another game was run. The claim is refuted by one game that is
    significantly worse, supported where all that count are significantly better, and otherwise not supported. Raises
    UserError for a stage of other than two optimizers.
    """
    if len(stage.optims) != 2:
        raise UserError(f"stage {stage.name} compares two optimizers, not {len(stage.optims)}")
    choices: dict[tuple[str, str], Choice | None] = {}
    arms: list[tuple[str, Arm, Arm]] = []
    for exp in stage.exps:
        pair = []
        for optim in stage.optims:
            rate = None
            if isinstance(stage.lr, str):
                choice = choose_rate(records, study.stage(stage.lr), exp, optim, study.metric)
                choices[exp, optim] = choice
                if choice is None or choice.rate is None:
                    pair.append(Arm(exp, optim, None, tuple(sorted(stage.seeds))))
                    continue
                rate = choice.rate
            pair.append(make_arm(stage, exp, optim, records, study.metric, rate))
        arms.append((exp, pair[0], pair[1]))
    games = _judge_games(arms)
    return Protocol(stage, _claim([game.kind for game in games]), games, choices)


def game_name(exp: str) -> str:
    """The game that an experiment plays (`HalfCheetah`)."""
    tree: Any = read(paths.CONFIGS / "exp" / f"{exp}.yaml")
    return str(tree["settings"]["ppo"]["game"])


def _judge_games(arms: Sequence[tuple[str, Arm, Arm]]) -> tuple[Game, ...]:
    enough = [
        exp
        for exp, baseline, subject in arms
        if min(len(baseline.ranked), len(subject.ranked)) >= FEWEST_SEEDS and min(baseline.n, subject.n) > 1
    ]
    compared = {exp: compare(subject.ranked, baseline.ranked) for exp, baseline, subject in arms if exp in enough}
    planned = [compared[exp].p if exp in compared else 1.0 for exp, _, _ in arms]
    adjusted = dict(zip([exp for exp, _, _ in arms], holm(planned), strict=True))
    games = []
    for exp, baseline, subject in arms:
        name, comparison = game_name(exp), compared.get(exp)
        if comparison is None:
            kind = TOO_FEW if baseline.n or subject.n else NOT_RUN
            games.append(Game(exp, name, baseline, subject, kind))
            continue
        kind = NO_DIFFERENCE
        if adjusted[exp] <= 1 - LEVEL:
            kind = BETTER if comparison.probability > 0.5 else WORSE
        detectable = smallest_detectable(subject.values, baseline.values, len(arms))
        games.append(Game(exp, name, baseline, subject, kind, comparison, adjusted[exp], detectable))
    return tuple(games)


def _claim(kinds: Sequence[str]) -> str:
    judged = [kind for kind in kinds if kind not in (NOT_RUN, TOO_FEW)]
    if not judged:
        return NOT_RUN
    if WORSE in judged:
        return REFUTED
    return SUPPORTED if set(judged) == {BETTER} else NOT_SUPPORTED
