"""The judge of a tuning that runs chosen settings again on fresh seeds: who is better when everybody was tuned alike?

One estimand: the mean over fresh seeds, by Welch. The subject is compared with every other planned optimizer of every
planned experiment, at the full budget and at the shorter ones against the other's full budget; intervals, and by them
better and worse, are corrected for the number of these planned comparisons (Bonferroni), run or not. With five seeds a
side the exact rank test could call nothing significant after that correction: its smallest p is 0.008.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

from experiments.schema.point import Point
from experiments.schema.tunings import Candidate, Tuning, candidate
from experiments.verdict import records as of_record
from experiments.verdict.claims import OPEN, REFUTED, SUPPORTED, corrected_level
from experiments.verdict.student_t import EQUIVALENCE_LEVEL, Interval
from experiments.verdict.tuning import Trial, at_edge, best, judged_metric, run_of, trials_of, tuning_metric
from experiments.verdict.two_samples import compare

BETTER, WORSE, EQUIVALENT, UNDECIDED, UNSTABLE, NOT_RUN = (
    "better",
    "worse",
    "equivalent",
    "no difference detected",
    "unstable",
    "not run",
)
NEAR_BEST = 0.02  # of the best value: what still counts as on its plateau


class Plateau(NamedTuple):
    """Rates from `low` to `high`, neighbours in the order of rates, whose trials came within 2 % of the best value."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """The factor between its ends: 1 where the best rate has no neighbour as good."""
        return self.high / self.low


@dataclass(frozen=True)
class Arm:
    """One optimizer on one experiment at one scale: its trials, and of each budget the values on fresh seeds that have
    ended, in the unit of `metric` (NaN: the run failed), with the runs that they are of."""

    candidate: Candidate
    trials: tuple[Trial, ...]
    trial_metric: str
    metric: str
    direction: str
    fresh: dict[Fraction, tuple[float, ...]] = field(default_factory=dict)
    runs: dict[Fraction, tuple[str, ...]] = field(default_factory=dict)
    seconds: float | None = None

    @cached_property
    def chosen(self) -> Trial | None:
        """The trial whose setting was run again; None before all have ended, and where all failed."""
        return best(self.trials, self.direction)

    @property
    def edges(self) -> dict[str, str]:
        """The settings chosen at an end of their range."""
        return at_edge(self.chosen.settings, self.trials) if self.chosen else {}

    @property
    def begun(self) -> bool:
        return any(trial.run for trial in self.trials) or any(self.fresh.values())

    @property
    def planned(self) -> int:
        return len(self.candidate.tuning.fresh_seeds)

    def ended(self, budget: Fraction) -> bool:
        """Whether all fresh seeds have ended at a budget."""
        return len(self.fresh.get(budget, ())) == self.planned > 0

    def failures(self, budget: Fraction) -> int:
        """Fresh runs at a budget that ended without a finite value."""
        return sum(math.isnan(value) for value in self.fresh.get(budget, ()))

    def signed(self, budget: Fraction) -> tuple[float, ...]:
        """The values with the sign by which more is better."""
        return tuple(value if self.direction == "max" else -value for value in self.fresh[budget])

    def response(self) -> list[tuple[float, float]]:
        """Value against learning rate, in the order of rates, of the trials that have a finite value."""
        found = [(one.settings["optim.lr"], one.value) for one in self.trials if one.value is not None]
        return sorted((rate, value) for rate, value in found if math.isfinite(value))

    def plateau(self) -> Plateau | None:
        """None before a setting is chosen."""
        if self.chosen is None or self.chosen.value is None:
            return None
        top, ordered = self.chosen.value, sorted(self.trials, key=lambda one: one.settings["optim.lr"])
        near = [
            abs((one.value if one.value is not None else math.inf) - top) <= NEAR_BEST * abs(top) for one in ordered
        ]
        low = high = ordered.index(self.chosen)
        while low and near[low - 1]:
            low -= 1
        while high + 1 < len(near) and near[high + 1]:
            high += 1
        return Plateau(ordered[low].settings["optim.lr"], ordered[high].settings["optim.lr"])


@dataclass(frozen=True)
class Compared:
    """The subject at `budget` against another optimizer at its full budget: the difference of means with the sign by
    which more is better, its corrected interval, and what it says: of the full budget better, worse, equivalent (the
    90 % interval lies within the margin) or no difference detected; of a shorter one whether it reaches the other's
    (supported, refuted, open)."""

    subject: Arm
    other: Arm
    budget: Fraction
    kind: str
    difference: float | None = None
    interval: Interval | None = None
    margin: float = 0.0


def arms(tuning: Tuning, exp: str, scale: str, records: Sequence[dict[str, Any]], optims: Sequence[str]) -> list[Arm]:
    """The arms of one experiment, in the order of `optims`."""
    own = [record for record in records if (record["exp"], record["scale"]) == (exp, scale)]
    return [_arm(candidate(tuning, exp, optim, Point({"scale": scale})), own) for optim in optims]


def comparisons(tuning: Tuning, found: Sequence[Arm]) -> list[Compared]:
    """The subject against every other arm of one experiment, budgets in their order; none without the subject."""
    subject = next((arm for arm in found if arm.candidate.optim == tuning.subject), None)
    if subject is None:
        return []
    others = [arm for arm in found if arm is not subject]
    return [_compared(tuning, subject, other, budget) for budget in tuning.fractions for other in others]


def family(tuning: Tuning) -> int:
    """The number of planned comparisons: experiments, other optimizers and budgets."""
    return len(tuning.exps) * (len(tuning.optims) - 1) * len(tuning.fractions)


def _compared(tuning: Tuning, subject: Arm, other: Arm, budget: Fraction) -> Compared:
    full, margin = tuning.fractions[0], tuning.margin(subject.metric)
    if not (subject.ended(budget) and other.ended(full)):
        return Compared(subject, other, budget, NOT_RUN, margin=margin)
    if subject.failures(budget) or other.failures(full):
        return Compared(subject, other, budget, UNSTABLE, margin=margin)
    sides = subject.signed(budget), other.signed(full)
    near = compare(*sides, EQUIVALENCE_LEVEL).difference_interval
    far = compare(*sides, corrected_level(family(tuning)))
    assert near is not None and far.difference_interval is not None
    kind = (
        _kind(near, far.difference_interval, margin)
        if budget == full
        else _reaches(near, far.difference_interval, margin)
    )
    return Compared(subject, other, budget, kind, far.difference, far.difference_interval, margin)


def _kind(near: Interval, far: Interval, margin: float) -> str:
    if far.low > 0:
        return BETTER
    if far.high < 0:
        return WORSE
    return EQUIVALENT if -margin < near.low and near.high < margin else UNDECIDED


def _reaches(near: Interval, far: Interval, margin: float) -> str:
    if near.low > -margin:
        return SUPPORTED
    return REFUTED if far.high < -margin else OPEN


def _arm(one: Candidate, records: Sequence[dict[str, Any]]) -> Arm:
    metric, direction = judged_metric(one.config)
    own = [record for record in records if record["optim"] == one.optim]
    trials = tuple(trials_of(one, own)) if own else tuple(Trial(each) for each in _settings(one))
    arm = Arm(one, trials, tuning_metric(one.tuning, one.trial_config())[0], metric, direction)
    if arm.chosen is None:
        return arm
    fresh, runs, seconds = {}, {}, []
    for budget in one.tuning.fractions:
        ended = [
            record
            for point in one.fresh(arm.chosen.settings, budget)
            if (record := run_of(point, own)) is not None and record["status"] in ("finished", "diverged")
        ]
        values = [of_record.value(record, metric) for record in ended]
        fresh[budget] = tuple(math.nan if value is None else value for value in values)
        runs[budget] = tuple(record["run"] for record in ended)
        seconds += [record["wall_seconds"] for record in ended if budget == 1 and "wall_seconds" in record]
    return Arm(
        one, trials, arm.trial_metric, metric, direction, fresh, runs, statistics.fmean(seconds) if seconds else None
    )


def _settings(one: Candidate) -> list[dict[str, float]]:
    return one.tuning.combinations(one.optim, one.config.task)
