"""Performance profiles: how often is a method within a factor of the fastest?

Dolan and More (2002, Mathematical Programming 91:201), as AlgoPerf scores by them (Dahl et al., arXiv 2306.07179;
mlcommons/algorithmic-efficiency@11e70c0, scoring/performance_profile.py): rho(tau) is the share of problems that a
method solves within tau times the time of the fastest method on each; the score is the integral of rho from 1 to 4
over the length of that stretch. A problem that nobody solved counts against everybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

LARGEST = 4.0  # the factor up to which AlgoPerf integrates

Times = Mapping[str, Mapping[str, float]]  # method -> problem -> time, math.inf: never


def ratios(times: Times) -> dict[str, dict[str, float]]:
    """Each time over the fastest of its problem; infinite where the method never got there, or has no time. Raises
    ValueError for a time that is no positive number."""
    problems = dict.fromkeys(problem for of_method in times.values() for problem in of_method)
    found: dict[str, dict[str, float]] = {method: {} for method in times}
    for problem in problems:
        of_problem = {method: of_method.get(problem, math.inf) for method, of_method in times.items()}
        if bad := [value for value in of_problem.values() if not value > 0]:
            raise ValueError(f"{problem}: {bad[0]} is no time")
        fastest = min(of_problem.values())
        for method, value in of_problem.items():
            found[method][problem] = value / fastest if math.isfinite(value) else math.inf
    return found


def profile(times: Times, taus: Sequence[float]) -> dict[str, list[float]]:
    """rho at each of `taus`, by method."""
    return {
        method: [sum(ratio <= tau for ratio in own.values()) / len(own) if own else 0.0 for tau in taus]
        for method, own in ratios(times).items()
    }


def scores(times: Times, largest: float = LARGEST) -> dict[str, float]:
    """The integral of rho from 1 to `largest` over its length: 1 for a method that is the fastest everywhere, 0 for one
    that is never within the factor. Exact: rho is a step function."""
    return {
        method: sum(max(0.0, largest - ratio) for ratio in own.values()) / (largest - 1) / len(own) if own else 0.0
        for method, own in ratios(times).items()
    }


def steps(times: Times, largest: float = LARGEST) -> dict[str, list[tuple[float, float]]]:
    """The corners of each profile, from 1 to `largest`: (tau, rho) where it rises, and at both ends."""
    found = {}
    for method, own in ratios(times).items():
        corners = sorted({1.0, largest, *(ratio for ratio in own.values() if ratio <= largest)})
        found[method] = list(zip(corners, profile({**times}, corners)[method], strict=True))
    return found
