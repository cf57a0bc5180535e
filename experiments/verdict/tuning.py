"""Which learning rate a tuning stage chose, by a rule fixed before its runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from experiments.schema.errors import UserError
from experiments.schema.studies import Stage
from experiments.verdict.arms import make_arm

METRIC = "episode_return"
FAILED = float("-inf")  # the mean of a rate that failed


class Choice(NamedTuple):
    """The chosen `rate` (None: every rate failed), and the mean over tuning seeds at each rate of the grid, in the
    order of rates; of a rate that failed the mean is -inf, and `failures` names the runs that ended without a value."""

    rate: float | None
    means: dict[float, float]
    failures: dict[float, tuple[str, ...]]

    @property
    def at_edge(self) -> str:
        """`lowest` or `highest` where the best rate may lie outside the grid, else empty."""
        if self.rate is None or len(self.means) == 1:
            return ""
        return {min(self.means): "lowest", max(self.means): "highest"}.get(self.rate, "")


def choose_rate(
    records: Iterable[dict[str, Any]],
    stage: Stage,
    exp: str,
    optim: str,
    metric: str = METRIC,
    scale: str = "paper",
) -> Choice | None:
    """The rate of `stage.lr` with the highest mean, over the stage's seeds, of the last evaluation's `metric`; of
    equal ones the smaller. None while a run of the grid is missing.

    A rate fails, and is never chosen, where a non-finite loss ended one of its runs or one finished without a finite
    value. Raises UserError for a stage that has no list of rates.
    """
    if not isinstance(stage.lr, list):
        raise UserError(f"stage {stage.name} has no list of rates to choose from")
    known = list(records)
    means: dict[float, float] = {}
    failures: dict[float, tuple[str, ...]] = {}
    for rate in sorted(stage.lr):
        arm = make_arm(stage, exp, optim, known, metric, rate, scale)
        if not arm.ended:
            return None
        if arm.failed:
            failures[rate] = arm.failed
        means[rate] = FAILED if arm.failed else statistics.fmean(arm.values)
    left = [rate for rate in means if rate not in failures]
    return Choice(max(left, key=lambda rate: (means[rate], -rate), default=None), means, failures)
