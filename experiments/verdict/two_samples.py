"""Two optimizers on one game, over seeds: with which probability does a run of one beat a run of the other?

That probability is the one thing that is estimated, tested and said. The test is Mann and Whitney's, by the exact
permutation distribution, ties included; the interval is Newcombe's (2006, Statistics in Medicine 25:559, method 5),
which stays honest where one sample lies wholly above the other. Means are shown and not judged: returns over seeds are
skewed or fall into two heaps, and Welch's test of means then errs far oftener than 5 % (results/verdicts.md).
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtrinc, ndtr, ndtri, stdtrit

from experiments.verdict.student_t import LEVEL, POWER, Interval, sample_sd


@dataclass(frozen=True)
class TwoSamples:
    """`probability` that a run of the subject beats one of the baseline (ties count half), with its Newcombe interval,
    and `p` of the two-sided exact Mann-Whitney test. `difference` is mean(subject) - mean(baseline) of the runs that
    have a finite value, `difference_interval` Welch's; None where a side has fewer than two of them."""

    probability: float
    interval: Interval
    p: float
    difference: float | None
    difference_interval: Interval | None


def compare(subject: Sequence[float], baseline: Sequence[float], level: float = LEVEL) -> TwoSamples:
    """Compare two samples, with intervals at `level`. A value may be -inf, for a run that failed: it is lower than all
    others where ranks are compared, and no part of the means."""
    probability = probability_of_improvement(subject, baseline)
    ours, theirs = ([value for value in values if math.isfinite(value)] for values in (subject, baseline))
    difference, ends = _means(ours, theirs, level)
    return TwoSamples(
        probability=probability,
        interval=newcombe(probability, len(subject), len(baseline), level),
        p=mann_whitney(subject, baseline),
        difference=difference,
        difference_interval=ends,
    )


def probability_of_improvement(subject: Sequence[float], baseline: Sequence[float]) -> float:
    """Share of pairs in which the subject is higher, ties as halves: Mann and Whitney's U over the number of pairs."""
    won = sum((x > y) + 0.5 * (x == y) for x in subject for y in baseline)
    return won / (len(subject) * len(baseline))


def newcombe(probability: float, m: int, n: int, level: float = LEVEL) -> Interval:
    """Newcombe's interval (method 5) of P(X > Y), estimated as `probability` from `m` and `n` values: all t for which
    the estimate lies within z standard errors of t, by the variance that two exponential distributions would give."""
    z = float(ndtri((1 + level) / 2))
    extra = (m + n) / 2 - 1

    def outside(t: float) -> float:
        variance = t * (1 - t) * (1 + extra * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return (t - probability) ** 2 - z**2 * variance

    return Interval(_root(outside, 0.0, probability), _root(outside, 1.0, probability))


def _root(outside: Callable[[float], float], end: float, inside: float) -> float:
    """Where a function that is positive at `end` and negative near `inside` crosses zero, by halving."""
    for _ in range(60):
        middle = (end + inside) / 2
        if outside(middle) > 0:
            end = middle
        else:
            inside = middle
    return (end + inside) / 2


def mann_whitney(subject: Sequence[float], baseline: Sequence[float]) -> float:
    """Two-sided p by the exact permutation distribution of U given the ties: the share of all ways to deal the values
    out to the two samples that lie at least as far from an even outcome as what was seen. 1 where all are equal."""
    pooled = np.array([*subject, *baseline])
    m, n = len(subject), len(baseline)
    _, place, counts = np.unique(pooled, return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[place]  # twice the mid-rank, a whole number
    ways = _deals(tuple(sorted(doubled.tolist())), m)
    sums = np.arange(len(ways))
    centre = m * (m + n + 1)
    seen = abs(int(doubled[:m].sum()) - centre)
    return float(ways[np.abs(sums - centre) >= seen].sum() / math.comb(m + n, m))


@functools.lru_cache(maxsize=256)
def _deals(ranks: tuple[int, ...], m: int) -> NDArray[np.float64]:
    """In how many ways `m` of the whole numbers `ranks` have each sum; whole numbers up to 2**53 are exact."""
    ways = np.zeros((m + 1, sum(ranks[-m:]) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        for chosen in range(m, 0, -1):
            ways[chosen, rank:] += ways[chosen - 1, : ways.shape[1] - rank]
    return ways[m]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: of those called significant at 5 %, the chance that any is an
    error is at most 5 %."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def detectable_probability(m: int, n: int, comparisons: int = 1) -> float:
    """The true P(X > Y) > 0.5 that samples of `m` and `n` values call significant in 80 of 100 repetitions, at 5 % /
    `comparisons`: that of two normal distributions so far apart, with the efficiency 3/pi that the rank test has beside
    Student's."""
    freedom = m + n - 2
    critical = stdtrit(freedom, 1 - (1 - LEVEL) / (2 * comparisons))
    shift = float(nctdtrinc(freedom, 1 - POWER, critical)) * math.sqrt((1 / m + 1 / n) * math.pi / 3)
    return float(ndtr(shift / math.sqrt(2)))


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half_width = float(stdtrit(len(values) - 1, (1 + level) / 2)) * sample_sd(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Interval(mean - half_width, mean + half_width)


def _means(ours: Sequence[float], theirs: Sequence[float], level: float) -> tuple[float | None, Interval | None]:
    """Difference of means, and Welch's interval of it."""
    if not ours or not theirs:
        return None, None
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    if min(len(ours), len(theirs)) < 2:
        return difference, None
    a, b = (sample_sd(values) ** 2 / len(values) for values in (ours, theirs))
    if not a + b:
        return difference, Interval(difference, difference)
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    half_width = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(a + b)
    return difference, Interval(difference - half_width, difference + half_width)
