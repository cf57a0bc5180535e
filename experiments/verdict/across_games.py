"""Both optimizers over all games of a protocol: normalised returns, their aggregates, profiles and learning curves.

A return is normalised by its game: 0 is a uniformly random policy's mean return, 1 the mean final return of the
baseline under the study's first protocol. A run that failed has at every evaluation the lowest return that was seen in
its game or a random policy's, whichever is lower: it must not help its optimizer by being left out. Needs the extra
`figures` (rliable).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict import bootstrap, inputs
from experiments.verdict.arms import Arm, read_curves
from experiments.verdict.claims import Game, Protocol
from experiments.verdict.two_samples import compare

Array = NDArray[Any]

FEWEST_GAMES = 2
THRESHOLDS = 101


@dataclass(frozen=True)
class Band:
    """Values with the ends of their 95 % intervals, each of one shape."""

    values: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class AcrossGames:
    """Aggregates over `games`, by optimizer: interquartile mean and mean of normalised final returns, the share of
    runs above each of `thresholds`, and the interquartile mean at `steps` environment steps. `improvement` is the mean
    over games of P(subject > baseline), with the interval that their Newcombe intervals give (MOVER: Zou and Donner,
    2008, Statistics in Medicine 27:1693)."""

    games: tuple[str, ...]
    iqm: dict[str, Band]
    mean: dict[str, Band]
    improvement: Band
    thresholds: Array
    profile: dict[str, Band]
    steps: tuple[int, ...]
    efficiency: dict[str, Band]


@dataclass(frozen=True)
class Unit:
    """The ends of a game's scale: returns that normalise to 0 and to 1."""

    zero: float
    one: float

    def of(self, values: Array) -> Array:
        """Normalised `values`."""
        return (values - self.zero) / (self.one - self.zero)


def load_random_policy() -> dict[str, float]:
    """Mean return of a uniformly random policy by game, as `scripts/measure_random_policy.py` measured it."""
    path = inputs.folder("random_policy") / "returns.yaml"
    try:
        return {game: float(entry["mean_return"]) for game, entry in inputs.read_yaml(path)["games"].items()}
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{paths.relative(path)} holds no returns of a random policy: {error!r}") from error


def units(first: Protocol) -> dict[str, Unit]:
    """Scales of the games whose baseline's seeds have all ended under the `first` protocol and beat a random policy."""
    zeros = load_random_policy()
    made = {
        game.name: Unit(zeros[game.name], statistics.fmean(game.baseline.values))
        for game in first.games
        if game.baseline.ended and game.baseline.n and game.name in zeros
    }
    return {name: unit for name, unit in made.items() if unit.one > unit.zero}


def aggregate(protocol: Protocol, scales: dict[str, Unit], metric: str) -> AcrossGames | None:
    """Aggregates over the games that have a scale and that were judged; None with fewer than two, or where one
    optimizer has no run with a value."""
    games = [game for game in protocol.judged if game.name in scales]
    if len(games) < FEWEST_GAMES or not all(any(_arm(game, index).n for game in games) for index in (0, 1)):
        return None
    names = [game.baseline.optim for game in games[:1]] + [game.subject.optim for game in games[:1]]
    curves = {name: _curves(games, index, scales, metric) for index, name in enumerate(names)}
    finals = {name: _finals(games, index, scales) for index, name in enumerate(names)}
    thresholds = np.linspace(0.0, np.ceil(2 * max(scores.max() for scores in finals.values())) / 2, THRESHOLDS)
    steps = {steps for steps, _ in curves.values()}
    if len(steps) > 1:
        raise UserError(f"stage {protocol.stage.name}: both optimizers must be evaluated at the same steps")
    return AcrossGames(
        games=tuple(game.name for game in games),
        iqm={name: _band(bootstrap.estimate(bootstrap.iqm, scores)) for name, scores in finals.items()},
        mean={name: _band(bootstrap.estimate(np.mean, scores)) for name, scores in finals.items()},
        improvement=_improvement(games),
        thresholds=thresholds,
        profile={name: _band(bootstrap.profile(scores, thresholds)) for name, scores in finals.items()},
        steps=steps.pop(),
        efficiency={name: _band(bootstrap.estimate(bootstrap.iqm, scores)) for name, (_, scores) in curves.items()},
    )


def _arm(game: Game, index: int) -> Arm:
    return (game.baseline, game.subject)[index]


def _improvement(games: Sequence[Game]) -> Band:
    """Mean over games of P(subject > baseline), from each game's own estimate and 95 % interval."""
    points, lows, highs = [], [], []
    for game in games:
        found = compare(game.subject.ranked, game.baseline.ranked)
        points.append(found.probability)
        lows.append(found.probability - found.interval.low)
        highs.append(found.interval.high - found.probability)
    mean = statistics.fmean(points)
    below, above = (math.sqrt(sum(part**2 for part in parts)) / len(games) for parts in (lows, highs))
    return Band(np.array([mean]), np.array([max(0.0, mean - below)]), np.array([min(1.0, mean + above)]))


def _lowest(game: Game, scale: Unit) -> float:
    """The normalised return of a run that failed."""
    seen = [value for arm in (game.baseline, game.subject) for value in arm.values]
    return min(0.0, *(float(scale.of(np.array(value))) for value in seen))


def _finals(games: Sequence[Game], index: int, scales: dict[str, Unit]) -> Array:
    """Normalised final returns, [seeds, games]."""
    columns = []
    for game in games:
        arm, scale = _arm(game, index), scales[game.name]
        columns.append([*scale.of(np.array(arm.values)).tolist(), *[_lowest(game, scale)] * len(arm.failed)])
    return np.array(columns).T


def _curves(games: Sequence[Game], index: int, scales: dict[str, Unit], metric: str) -> tuple[tuple[int, ...], Array]:
    """Steps of the evaluations, and normalised returns at them, [seeds, games, evaluations]."""
    read = [read_curves(_arm(game, index), metric) for game in games]
    steps = {steps for steps, _ in read if steps}
    if len(steps) > 1:
        raise UserError(f"{games[0].baseline.optim}: games were evaluated at different steps")
    [common] = steps
    scores = []
    for game, (_, values) in zip(games, read, strict=True):
        arm, scale = _arm(game, index), scales[game.name]
        lost = [[_lowest(game, scale)] * len(common)] * len(arm.failed)
        scores.append([*(scale.of(np.array(curve)).tolist() for curve in values), *lost])
    return common, np.stack([np.array(game) for game in scores], axis=1)


def _band(parts: tuple[Array, Array, Array]) -> Band:
    return Band(*parts)
