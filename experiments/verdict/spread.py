"""Sourced spreads between seeds, for a cell of which this suite has a single run (`results/reported/spread.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict import inputs


@dataclass(frozen=True)
class Spread:
    """Standard deviation `sd` of a metric over seeds, known with `degrees_of_freedom`, and its source.
    `tolerance` is the difference that a comparison should be able to detect; one that cannot is said to be weak."""

    sd: float
    degrees_of_freedom: int
    measured_on: str
    source: str
    tolerance: float


def load_spread(metric: str, dataset: str) -> Spread | None:
    """The sourced spread of `metric` on `dataset`; None when there is no source for one."""
    path = inputs.folder("reported") / "spread.yaml"
    if not path.is_file():
        return None
    for entry in (inputs.read_yaml(path) or {}).get("spreads", []):
        if (entry.get("metric"), entry.get("dataset")) == (metric, dataset):
            try:
                return Spread(
                    sd=float(entry["sd"]),
                    degrees_of_freedom=int(entry["degrees_of_freedom"]),
                    measured_on=entry["measured_on"],
                    source=entry["source"],
                    tolerance=float(entry["tolerance"]),
                )
            except KeyError as error:
                raise UserError(f"{paths.relative(path)}: the spread of {metric} on {dataset} lacks {error}") from error
    return None
