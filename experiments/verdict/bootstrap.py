"""Stratified bootstrap with rliable (Agarwal et al., 2021, arXiv 2108.13264), seeded: the same values, the same bytes.

rliable is an extra (`pip install -e '.[figures]'`) and takes seconds to import: `estimate` does, this module does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.verdict.student_t import LEVEL

Array = NDArray[Any]

REPETITIONS = 2000
SEED = 0


def estimate(statistic: Callable[..., Any], *scores: Array) -> tuple[Array, Array, Array]:
    """`statistic` of `scores` and the ends of its 95 % percentile interval, each of the shape that it returns.

    Scores are [runs, games] or [runs, games, points]. Runs are drawn anew within each game; several arrays are drawn
    independently of each other and may differ in runs. Raises ImportError without rliable.
    """
    from rliable import library

    def vector(*drawn: Array) -> Array:
        return np.atleast_1d(np.asarray(statistic(*drawn), dtype=float))

    given: Any = scores[0] if len(scores) == 1 else list(scores)
    with _seeded():
        points, intervals = library.get_interval_estimates(
            {"": given}, vector, reps=REPETITIONS, confidence_interval_size=LEVEL
        )
    low, high = intervals[""]
    return points[""], low, high


def iqm(scores: Array) -> Array:
    """Interquartile mean over runs and games, one for each point: rliable's `aggregate_iqm` over all points at once
    (theirs takes forty times as long, of which the bootstrap makes minutes)."""
    ordered = np.sort(scores.reshape(scores.shape[0] * scores.shape[1], -1), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(axis=0)


def profile(scores: Array, thresholds: Array) -> tuple[Array, Array, Array]:
    """Performance profile: share of runs over all games that score above each threshold, and its 95 % band (what
    rliable's `create_performance_profile` gives, without its loop over thresholds)."""
    return estimate(lambda drawn: (drawn[..., None] > thresholds).mean((0, 1)), scores)


@contextmanager
def _seeded() -> Iterator[None]:
    """rliable 1.2 takes a `random_state` but draws from numpy's global generator: seed that, and put it back."""
    before = np.random.get_state()
    np.random.seed(SEED)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="arch")
            yield
    finally:
        np.random.set_state(before)
