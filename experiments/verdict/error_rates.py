"""Simulate how often the verdicts err, with the very functions that judge: cells, and claims over games."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.verdict.claims import OPEN, REFUTED, SIGNIFICANT, SUPPORTED, claim_of, in_favour, judge_games
from experiments.verdict.judge import BETTER, INCONCLUSIVE, REPRODUCED, WORSE, kind_of
from experiments.verdict.reported import Reported
from experiments.verdict.spread import Sourced, spread_of
from experiments.verdict.student_t import compare
from experiments.verdict.two_samples import compare as rank_test
from experiments.verdict.two_samples import mann_whitney

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
CELL_KINDS = (REPRODUCED, BETTER, WORSE, INCONCLUSIVE)


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Exponential returns of sd 1 around mean 0: a long tail on one side."""
    return generator.exponential(1.0, shape) - 1.0


def cells(
    n: int,
    difference: float,
    draws: int,
    sourced_sd: float = 1.0,
    margin: float = 5.0,
    seed: int = 0,
    noise: Draw | None = None,
) -> dict[str, float]:
    """The share of each kind of verdict on a cell, in the unit of the true spread between seeds (sd 1): `n` seeds whose
    true mean lies `difference` above the reported number's, with a sourced spread that says `sourced_sd`. `noise` draws
    values of mean 0 and sd 1, by default normal ones."""
    generator = np.random.default_rng(seed)
    noise = noise or normal(1.0)
    ours = difference + noise(generator, (draws, n))
    theirs = noise(generator, (draws,))
    sourced = Sourced(sourced_sd, 12, "", "")
    found: Counter[str] = Counter()
    for values, value in zip(ours.tolist(), theirs.tolist(), strict=True):
        reported = Reported("", "", "", "", "", "", "max", value)
        found[_kind(values, reported, sourced, margin)] += 1
    return {kind: found[kind] / draws for kind in CELL_KINDS}


def _kind(values: Sequence[float], reported: Reported, sourced: Sourced, margin: float) -> str:
    spread = spread_of(values, sourced)
    assert spread is not None
    comparison = compare(values, reported.value, spread.sd, spread.degrees_of_freedom)
    return kind_of(comparison, reported, spread, margin, settings_of_ours=False)[0]


def looks(draws: int, most: int = 10, sourced_sd: float = 1.0, margin: float = 5.0, seed: int = 0) -> dict[str, float]:
    """The share of true reproductions called better or worse at least once where a verdict is asked for after every
    seed up to `most` ("looking"), and at the planned number alone ("planned")."""
    generator = np.random.default_rng(seed)
    ours, theirs = generator.normal(0.0, 1.0, (draws, most)), generator.normal(0.0, 1.0, draws)
    sourced = Sourced(sourced_sd, 12, "", "")
    looking = planned = 0
    for values, value in zip(ours.tolist(), theirs.tolist(), strict=True):
        reported = Reported("", "", "", "", "", "", "max", value)
        kinds = [_kind(values[:n], reported, sourced, margin) for n in range(1, most + 1)]
        looking += any(kind in (BETTER, WORSE) for kind in kinds)
        planned += kinds[-1] in (BETTER, WORSE)
    return {"looking": looking / draws, "planned": planned / draws}


def normal(sd: float, mean: float = 0.0) -> Draw:
    """Normal returns."""
    return lambda generator, shape: generator.normal(mean, sd, shape)


def far_out(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One run in ten far above the others: mean 1, median near 0.14."""
    return np.where(
        generator.random(shape) < 0.1, generator.normal(10.0, 1.0, shape), generator.normal(0.0, 1.0, shape)
    )


def two_heaps(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Half of the runs high, half low: median 0."""
    return generator.normal(0.0, 1.0, shape) + np.where(generator.random(shape) < 0.5, 5.0, -5.0)


def claim(
    pairs: Sequence[tuple[Draw, Draw]], draws: int, n: int = 10, diverging: float = 0.0, seed: int = 0
) -> dict[str, float]:
    """The share of each verdict on "better in every game", with one pair (subject, baseline) of distributions a game,
    `n` seeds of each, of which a share `diverging` fails in both arms. `any game` is the share in which any game is
    called better or worse."""
    generator = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    drawn = []
    for pair in pairs:
        arms = [draw(generator, (draws, n)) for draw in pair]
        drawn.append([np.where(generator.random(arm.shape) < diverging, -np.inf, arm) for arm in arms])
    for index in range(draws):
        compared = [rank_test(subject[index].tolist(), baseline[index].tolist()) for subject, baseline in drawn]
        kinds = [kind for kind, _ in judge_games(compared)]
        found["any game"] += any(kind in (BETTER, WORSE) for kind in kinds)
        found[claim_of(kinds, [in_favour(one) for one in compared])] += 1
    return {kind: found[kind] / draws for kind in (REFUTED, SUPPORTED, OPEN, "any game")}


def tests_of_two(subject: Draw, baseline: Draw, draws: int, n: int = 10, seed: int = 0) -> dict[str, float]:
    """The share of comparisons of two optimizers that the rank test and Welch's test of means call significant at
    5 %."""
    from scipy.stats import ttest_ind

    generator = np.random.default_rng(seed)
    ours, theirs = subject(generator, (draws, n)), baseline(generator, (draws, n))
    ranks = [mann_whitney(x, y) <= SIGNIFICANT for x, y in zip(ours.tolist(), theirs.tolist(), strict=True)]
    means = ttest_ind(ours, theirs, axis=1, equal_var=False).pvalue <= SIGNIFICANT
    return {"rank test": float(np.mean(ranks)), "Welch's test": float(np.mean(means))}
