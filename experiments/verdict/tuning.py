"""Which learning rate a tuning stage chose, by a rule fixed before its runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from experiments.schema.errors import UserError
from experiments.schema.studies import Stage
from experiments.verdict.arms import make_arm

METRIC = "episode_return"


class Choice(NamedTuple):
    """The chosen `rate`, and the mean over tuning seeds at each rate of the grid, in the order of rates."""

    rate: float
    means: dict[float, float]

    @property
    def at_edge(self) -> str:
        """`lowest` or `highest` where the best rate may lie outside the grid, else empty."""
        if len(self.means) == 1:
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

    A run that finished without a finite value puts its rate out of the choice, as -inf. Raises UserError for a stage
    that has no list of rates.
    """
    if not isinstance(stage.lr, list):
        raise UserError(f"stage {stage.name} has no list of rates to choose from")
    known = list(records)
    means: dict[float, float] = {}
    for rate in sorted(stage.lr):
        arm = make_arm(stage, exp, optim, known, metric, rate, scale)
        if arm.n + len(arm.without_value) < len(arm.planned):
            return None
        means[rate] = float("-inf") if arm.without_value else statistics.fmean(arm.values)
    return Choice(max(means, key=lambda rate: (means[rate], -rate)), means)
