"""Estimate how far single runs of one recipe lie apart when only the seed changes: by our own runs, or by a sourced
spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict import inputs
from experiments.verdict.student_t import sample_sd

OWN_FROM = 3  # seeds from which on our own spread is used
WIDENED = 2.0
WIDENED_FREEDOM = 3
"""A sourced spread was measured on another model or optimizer, so it counts as twice as wide, and as if it were known
from four runs: then even one that is three times too small errs in less than 5 % (results/verdicts.md)."""


@dataclass(frozen=True)
class Sourced:
    """Standard deviation `sd` of a metric over seeds as a source measured it (`results/reported/spread.yaml`)."""

    sd: float
    degrees_of_freedom: int
    measured_on: str
    source: str


@dataclass(frozen=True)
class Spread:
    """The standard deviation of a single run that a verdict uses, with its degrees of freedom, and where it is from."""

    sd: float
    degrees_of_freedom: int
    origin: str


def load_sourced(metric: str, dataset: str, model: str = "") -> Sourced | None:
    """The sourced spread of `metric` on `dataset`, that of `model` itself where there is one; None without a source."""
    path = inputs.folder("reported") / "spread.yaml"
    if not path.is_file():
        return None
    entries = (inputs.read_yaml(path) or {}).get("spreads", [])
    fitting = [entry for entry in entries if (entry.get("metric"), entry.get("dataset")) == (metric, dataset)]
    for entry in sorted(fitting, key=lambda entry: entry.get("model") is None):
        if entry.get("model") not in (None, model):
            continue
        try:
            return Sourced(
                sd=float(entry["sd"]),
                degrees_of_freedom=int(entry["degrees_of_freedom"]),
                measured_on=entry["measured_on"],
                source=entry["source"],
            )
        except KeyError as error:
            raise UserError(f"{paths.relative(path)}: the spread of {metric} on {dataset} lacks {error}") from error
    return None


def spread_of(values: Sequence[float], sourced: Sourced | None) -> Spread | None:
    """The spread that `values` (one a seed) are judged by; None where nothing is known of it.

    From three seeds on it is their own. With one or two (or with values that are all equal) it is the sourced spread,
    widened, pooled with their variance, or that variance where it is larger; without a source two seeds have their own,
    with one degree of freedom.
    """
    n, own = len(values), sample_sd(values)
    if own and (n >= OWN_FROM or sourced is None):
        return Spread(own, n - 1, f"our own {n} seeds: sd {own:.3g}")
    if sourced is None:
        return None
    prior = (WIDENED * sourced.sd) ** 2
    pooled = ((n - 1) * own**2 + WIDENED_FREEDOM * prior) / (n - 1 + WIDENED_FREEDOM)
    sd = math.sqrt(max(pooled, own**2))
    beside = f", pooled with that of our {n} seeds" if n > 1 else ""
    origin = (
        f"twice the sd {sourced.sd:g} that {sourced.source} measured on {sourced.measured_on}, at {WIDENED_FREEDOM} "
        f"degrees of freedom{beside}: sd {sd:.3g}"
    )
    return Spread(sd, WIDENED_FREEDOM, origin)
