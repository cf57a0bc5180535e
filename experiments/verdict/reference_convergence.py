"""MLPerf Training's check of reference convergence points: does a run converge faster than the reference can?

By the rules (mlcommons/training_policies@d73e20f, training_rules.adoc, section 13 and its appendix of examples) and
the checker (mlcommons/logging@e6ba2a9, mlperf_logging/rcp_checker/rcp_checker.py): of the epochs to the target at each
batch size the fastest and the slowest are left out; the least mean that is accepted is the one at which a one-sided
t-test with equal spread still gives p = 0.05; points slower than the line between their neighbours are pruned; a batch
size between two points is interpolated, one below the smallest must meet the smallest's, one above the largest needs
a reference.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

ALPHA = 0.05
PASSED, FAILED, MISSING = "passed", "failed", "reference missing"


@dataclass(frozen=True)
class Point:
    """Epochs to the target at one batch size: mean and standard deviation of `n` runs, the extremes left out."""

    batch_size: float
    mean: float
    deviation: float
    n: int

    def least(self, runs: int) -> float:
        """The least mean of `runs` submitted runs, two of which are left out, that is not too fast."""
        submitted = runs - 2
        error = self.deviation * math.sqrt(1 / self.n + 1 / submitted)
        return self.mean - float(stdtrit(self.n + submitted - 2, 1 - ALPHA)) * error

    def speedup(self, runs: int) -> float:
        """By which factor a submission may be faster: 1.0353 is 3.53 %."""
        return self.mean / self.least(runs)


@dataclass(frozen=True)
class Outcome:
    """What the check said of a submission: `mean` of its epochs, the `least` that is accepted and the reference `point`
    that it was held against (None where one is missing); `normalise` is the factor by which a time to train must be
    multiplied, since one that is faster than the reference, and accepted, was lucky."""

    kind: str
    mean: float
    least: float | None = None
    point: Point | None = None
    interpolated: bool = False
    normalise: float = 1.0


def reference(batch_size: float, epochs: Sequence[float]) -> Point:
    """The point of at least four reference runs. Raises ValueError for fewer."""
    kept = trimmed(epochs)
    if len(kept) < 2:
        raise ValueError(f"batch size {batch_size}: a reference point needs four runs or more, not {len(epochs)}")
    return Point(batch_size, statistics.fmean(kept), statistics.pstdev(kept), len(kept))


def trimmed(epochs: Sequence[float]) -> list[float]:
    """In order, without the fastest and the slowest."""
    return sorted(epochs)[1:-1]


def pruned(points: Sequence[Point], runs: int) -> list[Point]:
    """The points from the fastest on, in order of batch sizes, without those slower than the line between their
    neighbours."""
    ordered = sorted(points, key=lambda point: point.batch_size)
    fastest = min(ordered, key=lambda point: point.mean)
    kept = [point for point in ordered if point.batch_size >= fastest.batch_size]
    place = 1
    while place < len(kept) - 1:
        line = interpolated(kept[place].batch_size, kept[place - 1], kept[place + 1], runs)
        if kept[place].mean > line.mean:
            del kept[place]
            place = max(1, place - 1)
        else:
            place += 1
    return kept


def interpolated(batch_size: float, low: Point, high: Point, runs: int) -> Point:
    """The point on the line between two; it counts as of twice the submitted `runs`, as published."""
    at = [low.batch_size, high.batch_size]
    mean = float(np.interp(batch_size, at, [low.mean, high.mean]))
    return Point(batch_size, mean, float(np.interp(batch_size, at, [low.deviation, high.deviation])), 2 * runs)


def check(points: Sequence[Point], batch_size: float, epochs: Sequence[float]) -> Outcome:
    """Hold the epochs to the target of submitted runs, at least three, against reference points. Raises ValueError for
    fewer runs."""
    kept, runs = trimmed(epochs), len(epochs)
    if not kept:
        raise ValueError(f"a submission needs three runs or more, not {runs}")
    mean = statistics.fmean(kept)
    known: Mapping[float, Point] = {point.batch_size: point for point in points}
    below = [point for point in points if point.batch_size < batch_size]
    above = [point for point in points if point.batch_size > batch_size]
    if batch_size in known:
        return _judged(known[batch_size], mean, runs)
    if below and above:
        low, high = max(below, key=_size), min(above, key=_size)
        return _judged(interpolated(batch_size, low, high, runs), mean, runs, True)
    if above:
        found = _judged(min(above, key=_size), mean, runs)
        return found if found.kind == PASSED else Outcome(MISSING, mean)
    return Outcome(MISSING, mean)


def _judged(point: Point, mean: float, runs: int, between: bool = False) -> Outcome:
    least = point.least(runs)
    kind = PASSED if mean >= least else FAILED
    return Outcome(kind, mean, least, point, between, max(1.0, point.mean / mean))


def _size(point: Point) -> float:
    return point.batch_size
