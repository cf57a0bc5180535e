"""How many seeds would decide a claim, and what they cost, if the means and the spread stay as observed.

Power is 80 % at 5 %. For ranks: Noether's formula for the Mann-Whitney test (1987, J. Am. Stat. Assoc. 82:645), with
P(X > Y) of two normal distributions of the observed means and pooled spread, and never fewer seeds than the exact test
needs to reach 5 % at all. For means: the noncentral t distribution (`student_t.detectable`).
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence

from scipy.special import ndtr, ndtri

from experiments.verdict.claims import SIGNIFICANT
from experiments.verdict.student_t import POWER, detectable, sample_sd

MOST = 1000


def fewest_for_ranks(level: float = SIGNIFICANT) -> int:
    """The fewest seeds a side with which the exact two-sided Mann-Whitney test can reach `level`: 4 for 5 %."""
    return next(n for n in range(1, MOST) if 2 / math.comb(2 * n, n) <= level)


def seeds_for_ranks(ours: Sequence[float], theirs: Sequence[float], comparisons: int = 1) -> int | None:
    """Seeds a side that the rank test needs. Where the first is behind, what is to be shown is that it is worse, which
    holds after a correction over `comparisons`. None where a side has fewer than two finite values, and where `MOST`
    do not do."""
    found = _finite(ours, theirs)
    if found is None:
        return None
    difference, sd = found
    level = SIGNIFICANT if difference > 0 else SIGNIFICANT / comparisons
    if not difference:
        return None
    effect = float(ndtr(abs(difference) / (sd * math.sqrt(2)))) - 0.5 if sd else 0.5
    wanted = float(ndtri(1 - level / 2) + ndtri(POWER)) ** 2 / (6 * effect**2)
    return max(math.ceil(wanted), fewest_for_ranks(level)) if wanted <= MOST else None


def seeds_for_means(ours: Sequence[float], theirs: Sequence[float], margin: float = 0.0) -> int | None:
    """Seeds a side that Welch's test needs to tell the difference of means from minus `margin`. None as above."""
    found = _finite(ours, theirs)
    if found is None:
        return None
    gap, sd = abs(found[0] + margin), found[1]
    candidates = range(2, MOST + 1)
    first = bisect_left(
        candidates, True, key=lambda n: gap > 0 and gap >= detectable(2 * n - 2) * sd * math.sqrt(2 / n)
    )
    return candidates[first] if first < len(candidates) else None


def _finite(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float] | None:
    """The difference of the means of the finite values and their pooled spread; None with fewer than two of a side."""
    one, other = ([value for value in side if math.isfinite(value)] for side in (ours, theirs))
    if min(len(one), len(other)) < 2:
        return None
    freedom = len(one) + len(other) - 2
    pooled = sum((len(side) - 1) * sample_sd(side) ** 2 for side in (one, other)) / freedom
    return statistics.fmean(one) - statistics.fmean(other), math.sqrt(pooled)
