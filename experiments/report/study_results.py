"""Everything the writers of a study need, worked out once from sealed records. Needs the extra `figures`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.schema.studies import Stage, Study
from experiments.verdict.across_games import AcrossGames, Unit, aggregate, load_random_policy, units
from experiments.verdict.arm_summary import ArmSummary, summarise
from experiments.verdict.arms import Arm
from experiments.verdict.claims import Game, Protocol, judge_study
from experiments.verdict.two_samples import mean_interval


@dataclass(frozen=True)
class ProtocolResult:
    """A protocol with its arms' summaries (by experiment and optimizer), and the aggregates over its games (None: too
    few)."""

    protocol: Protocol
    summaries: dict[tuple[str, str], ArmSummary]
    across: AcrossGames | None
    replications: tuple[ProtocolResult, ...] = ()

    @property
    def stage(self) -> Stage:
        """The stage that was judged."""
        return self.protocol.stage

    def summary(self, arm: Arm) -> ArmSummary | None:
        """The summary of an arm; None without runs."""
        return self.summaries.get((arm.exp, arm.optim))


@dataclass(frozen=True)
class StudyResult:
    """A study's protocols in its order, the scales of normalised returns, and a random policy's returns by game."""

    study: Study
    protocols: tuple[ProtocolResult, ...]
    units: dict[str, Unit]
    random_policy: dict[str, float]

    def label(self, optim: str) -> str:
        """Return what an optimizer is called in print."""
        return self.study.labels.get(optim, optim)


def collect(study: Study, records: Sequence[dict[str, Any]]) -> StudyResult:
    """Judge `study` and summarise every arm. Raises UserError for records whose events are not those sealed."""
    protocols = judge_study(study, records)
    scales = units(protocols[0])
    return StudyResult(
        study=study,
        protocols=tuple(_summarised(protocol, scales, study.metric) for protocol in protocols),
        units=scales,
        random_policy=load_random_policy(),
    )


def arms(game: Game) -> tuple[Arm, Arm]:
    """Baseline and subject of a game."""
    return game.baseline, game.subject


def below_untuned(result: StudyResult, protocol: ProtocolResult) -> list[tuple[Game, Arm, Arm]]:
    """Games and arms of `protocol` whose chosen rate ended wholly below the recipe's own rate under another protocol,
    on other seeds; and that other arm."""
    stage, found = protocol.stage, []
    if not isinstance(stage.lr, str):
        return []
    for other in result.protocols:
        if isinstance(other.stage.lr, str) or (other.stage.recipe, other.stage.epochs) != (stage.recipe, stage.epochs):
            continue
        untuned = {(arm.exp, arm.optim): arm for game in other.protocol.games for arm in arms(game) if arm.n}
        for game in protocol.protocol.games:
            for arm in arms(game):
                own, interval = untuned.get((arm.exp, arm.optim)), mean_interval(arm.values)
                if own is not None and interval is not None and interval.high < statistics.fmean(own.values):
                    found.append((game, arm, own))
    return found


def _summarised(protocol: Protocol, scales: dict[str, Unit], metric: str) -> ProtocolResult:
    run = [arm for game in protocol.games for arm in arms(game) if arm.n]
    return ProtocolResult(
        protocol=protocol,
        summaries={(arm.exp, arm.optim): summarise(arm, metric) for arm in run},
        across=aggregate(protocol, scales, metric),
        replications=tuple(_summarised(other, scales, metric) for other in protocol.replications),
    )
