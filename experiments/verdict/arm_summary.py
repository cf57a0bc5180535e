"""One arm in numbers: its final values and learning curve over seeds, with 95 % intervals.

Needs the extra `figures` (rliable).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from experiments.verdict import bootstrap
from experiments.verdict.arms import Arm, read_curves
from experiments.verdict.student_t import Interval
from experiments.verdict.two_samples import mean_interval


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (None: a single seed has none)."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class ArmSummary:
    """`mean` and `iqm` (interquartile mean, bootstrap interval) of final values, `area` the mean over seeds of the
    learning curve's mean height; `curve` the mean at each of `steps`, intervals of means by Student's t."""

    mean: Estimate
    iqm: Estimate
    area: Estimate
    areas: tuple[float, ...]
    steps: tuple[int, ...]
    curve: tuple[Estimate, ...]


def summarise(arm: Arm, metric: str) -> ArmSummary:
    """The summary of an arm with at least one run. Raises UserError when its events are not those of its records."""
    steps, curves = read_curves(arm, metric)
    areas = tuple(_mean_height(steps, values) for values in curves)
    return ArmSummary(
        mean=_mean(arm.values),
        iqm=_bootstrapped(arm),
        area=_mean(areas),
        areas=areas,
        steps=steps,
        curve=tuple(_mean(values) for values in zip(*curves, strict=True)),
    )


def _mean_height(steps: tuple[int, ...], values: tuple[float, ...]) -> float:
    """Area under a curve by trapezoids over its length, in the unit of `values`."""
    if len(steps) == 1:
        return values[0]
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def _mean(values: tuple[float, ...]) -> Estimate:
    return Estimate(statistics.fmean(values), mean_interval(values))


def _bootstrapped(arm: Arm) -> Estimate:
    point, low, high = bootstrap.estimate(bootstrap.iqm, np.array(arm.values)[:, None])
    interval = Interval(float(low[0]), float(high[0])) if arm.n > 1 else None
    return Estimate(float(point[0]), interval)
