"""Student's t for the difference between our runs and one reported number.

The paper's number is one draw from the distribution that our n runs sample, so under equal means the
difference (mean of ours - reported) has the standard error sd * sqrt(1/n + 1), and divided by it follows
Student's t with the degrees of freedom of the sd. Rounding of the printed number (at most half of its last
digit) is not added.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# scipy.special takes 0.2 s to import, scipy.stats 0.6 s.
from scipy.special import nctdtrinc, stdtrit

LEVEL = 0.95
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
    """Our runs against one reported number: `difference` is ours - reported, `interval` its 95 % interval,
    `mean_interval` that of our mean, `smallest_detectable` the true difference (either sign) that a comparison
    of this size calls significant with 80 % probability."""

    n: int
    mean: float
    difference: float
    interval: Interval
    mean_interval: Interval
    smallest_detectable: float

    @property
    def significant(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return 0.0 not in self.interval


def compare(values: Sequence[float], reported: float, sd: float, degrees_of_freedom: int) -> Comparison:
    """Compare the mean of `values` (n >= 1 runs) with `reported`, given the sd of a single run."""
    n, mean = len(values), statistics.fmean(values)
    difference = mean - reported
    critical = float(stdtrit(degrees_of_freedom, (1 + LEVEL) / 2))
    error = sd * math.sqrt(1 / n + 1)
    return Comparison(
        n=n,
        mean=mean,
        difference=difference,
        interval=_around(difference, critical * error),
        mean_interval=_around(mean, critical * sd / math.sqrt(n)),
        smallest_detectable=error * detectable(degrees_of_freedom),
    )


def sample_sd(values: Sequence[float]) -> float:
    """Standard deviation with n - 1 in the denominator; 0 for one value, or for equal ones."""
    return statistics.stdev(values) if len(set(values)) > 1 else 0.0


def detectable(degrees_of_freedom: int) -> float:
    """The true difference, in standard errors, that a two-sided t-test at 5 % finds with 80 % power: the
    noncentrality at which the noncentral t exceeds the critical value with that probability (its other tail is
    negligible)."""
    critical = stdtrit(degrees_of_freedom, (1 + LEVEL) / 2)
    return float(nctdtrinc(degrees_of_freedom, 1 - POWER, critical))


def _around(centre: float, half_width: float) -> Interval:
    return Interval(centre - half_width, centre + half_width)
