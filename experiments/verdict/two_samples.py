"""Two optimizers on one game, over seeds: which is higher, by how much, and what could have been seen.

The test is Mann and Whitney's, two-sided and exact: returns over seeds are often skewed or fall into two heaps, where
a test of means would lean on a normal distribution. The difference of means and what it could have detected are
Welch's, which assumes no equal spread.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import nctdtrinc, stdtrit

from experiments.verdict.statistics import LEVEL, POWER, Interval, sample_sd


@dataclass(frozen=True)
class TwoSamples:
    """`difference` is mean(subject) - mean(baseline), `interval` its 95 % interval (Welch), `probability` that a run
    of the subject beats one of the baseline (ties count half), `p` that of the two-sided Mann-Whitney test."""

    difference: float
    interval: Interval
    probability: float
    p: float


def compare(subject: Sequence[float], baseline: Sequence[float]) -> TwoSamples:
    """Compare two samples of at least two finite values each. A value may be -inf, for a run that failed: it is lower
    than all others where ranks are compared, and no part of the means."""
    ours, theirs = ([value for value in values if math.isfinite(value)] for values in (subject, baseline))
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    error, freedom = _welch(ours, theirs)
    half_width = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error if error else 0.0
    interval = Interval(difference - half_width, difference + half_width)
    probability = probability_of_improvement(subject, baseline)
    return TwoSamples(difference, interval, probability, mann_whitney(subject, baseline))


def probability_of_improvement(subject: Sequence[float], baseline: Sequence[float]) -> float:
    """Share of pairs in which the subject is higher, ties as halves: Mann and Whitney's U over the number of pairs."""
    won = sum((x > y) + 0.5 * (x == y) for x in subject for y in baseline)
    return won / (len(subject) * len(baseline))


def mann_whitney(subject: Sequence[float], baseline: Sequence[float]) -> float:
    """Two-sided p: exact without ties, by the normal approximation with them; 1 where all values are equal."""
    from scipy.stats import mannwhitneyu  # half a second to import

    pooled = [*subject, *baseline]
    if len(set(pooled)) == 1:
        return 1.0
    method = "exact" if len(set(pooled)) == len(pooled) else "asymptotic"
    return float(mannwhitneyu(subject, baseline, alternative="two-sided", method=method).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: of those called significant at 5 %, the chance that any is an
    error is at most 5 %."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def smallest_detectable(subject: Sequence[float], baseline: Sequence[float], comparisons: int = 1) -> float:
    """The true difference of means (either sign) that samples of these sizes and spreads call significant with 80 %
    probability, by Welch's test at 5 % / `comparisons` (Holm's first step). 0 where neither sample spreads."""
    error, freedom = _welch(subject, baseline)
    if not error:
        return 0.0
    critical = stdtrit(freedom, 1 - (1 - LEVEL) / (2 * comparisons))
    return error * float(nctdtrinc(freedom, 1 - POWER, critical))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Student's 95 % interval of a mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half_width = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * sample_sd(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Interval(mean - half_width, mean + half_width)


def _welch(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Standard error of the difference of means, and Welch and Satterthwaite's degrees of freedom."""
    a, b = (sample_sd(values) ** 2 / len(values) for values in (x, y))
    if not a + b:
        return 0.0, float(len(x) + len(y) - 2)
    return math.sqrt(a + b), (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
