"""Student's t for the difference between our runs and one reported number.

The paper's number is the mean of k draws (one, unless its source says more) from the distribution that our n runs
sample, so under equal means the difference (mean of ours - reported) has the standard error sd * sqrt(1/n + 1/k), and
divided by it follows Student's t with the degrees of freedom of the sd. Rounding of the printed number (at most half
of its last digit) is not added.
"""

from __future__ import annotations

import functools
import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

# scipy.special takes 0.2 s to import, scipy.stats 0.6 s.
from scipy.special import nctdtrinc, ndtr, stdtrit

LEVEL = 0.95
EQUIVALENCE_LEVEL = 0.90  # of the interval that lies within a margin in at most 5 % where the true difference does not
POWER = 0.80


@dataclass(frozen=True)
class Interval:
    """A closed interval, in the unit of the metric."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:.2f}, {self.high:.2f}]"

    def signed(self) -> str:
        """The same with the signs of a difference."""
        return f"[{self.low:+.2f}, {self.high:+.2f}]"


@dataclass(frozen=True)
class Comparison:
    """Our `n` runs against one reported number: `difference` is ours - reported, `interval` its 95 % interval, `narrow`
    its 90 % interval, `mean_interval` the 95 % one of our mean, `smallest_detectable` the true difference (either sign)
    that a comparison of this size calls significant with 80 % probability."""

    n: int
    mean: float
    difference: float
    interval: Interval
    narrow: Interval
    mean_interval: Interval
    smallest_detectable: float

    @property
    def significant(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return 0.0 not in self.interval

    def within(self, margin: float) -> bool:
        """Whether the 90 % interval of the difference lies within +- `margin` (two one-sided tests at 5 %)."""
        return -margin < self.narrow.low and self.narrow.high < margin


def compare(
    values: Sequence[float], reported: float, sd: float, degrees_of_freedom: int, behind: int = 1
) -> Comparison:
    """Compare the mean of `values` (n >= 1 runs) with `reported`, the mean of `behind` runs, given the sd of one."""
    n, mean = len(values), statistics.fmean(values)
    difference = mean - reported
    critical, one_sided = _critical(degrees_of_freedom)
    error = standard_error(sd, n, behind)
    return Comparison(
        n=n,
        mean=mean,
        difference=difference,
        interval=_around(difference, critical * error),
        narrow=_around(difference, one_sided * error),
        mean_interval=_around(mean, critical * sd / math.sqrt(n)),
        smallest_detectable=error * detectable(degrees_of_freedom),
    )


def standard_error(sd: float, n: int, behind: int) -> float:
    """Return the standard error of a difference between means of `n` and of `behind` runs with one spread."""
    return sd * math.sqrt(1 / n + 1 / behind)


def deciding_n(difference: float, margin: float | None, sd: float, behind: int, most: int = 1000) -> int | None:
    """The fewest runs, three at least, that would decide a comparison if `difference` and `sd` stayed as they are: the
    90 % interval within +- `margin`, or the 95 % interval without zero. None where not even `most` runs would."""

    def decided(n: int) -> bool:
        critical, one_sided = _critical(n - 1)
        error = standard_error(sd, n, behind)
        within = margin is not None and abs(difference) + one_sided * error < margin
        return abs(difference) > critical * error or within

    candidates = range(3, most + 1)
    first = bisect_left(candidates, True, key=decided)  # more runs never undo a decision: the error only shrinks
    return candidates[first] if first < len(candidates) else None


def most_reproduced(margin: float, sd: float, behind: int) -> float:
    """The share of true reproductions (equal means) that can meet `margin` at most, with any number of our runs: what
    the reported number, itself a mean of `behind` draws, leaves."""
    if not sd:
        return 1.0
    room = margin / standard_error(sd, 10**9, behind) - float(stdtrit(1e9, (1 + EQUIVALENCE_LEVEL) / 2))
    return max(0.0, 2 * float(ndtr(room)) - 1)


def sample_sd(values: Sequence[float]) -> float:
    """Standard deviation with n - 1 in the denominator; 0 for one value, or for equal ones."""
    return statistics.stdev(values) if len(set(values)) > 1 else 0.0


@functools.cache
def detectable(degrees_of_freedom: int) -> float:
    """The true difference, in standard errors, that a two-sided t-test at 5 % finds with 80 % power: the
    noncentrality at which the noncentral t exceeds the critical value with that probability (its other tail is
    negligible)."""
    critical = stdtrit(degrees_of_freedom, (1 + LEVEL) / 2)
    return float(nctdtrinc(degrees_of_freedom, 1 - POWER, critical))


@functools.cache
def _critical(degrees_of_freedom: int) -> tuple[float, float]:
    """Half-widths, in standard errors, of the 95 % and the 90 % interval."""
    two_sided, one_sided = stdtrit(degrees_of_freedom, [(1 + LEVEL) / 2, (1 + EQUIVALENCE_LEVEL) / 2])
    return float(two_sided), float(one_sided)


def _around(centre: float, half_width: float) -> Interval:
    return Interval(centre - half_width, centre + half_width)
