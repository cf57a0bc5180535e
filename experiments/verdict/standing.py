"""Tell how a run stands against the other optimizers run at the same setting, where the paper is no measure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from experiments.verdict import records as of_record


@dataclass(frozen=True)
class Place:
    """One optimizer at a setting: the mean over its `n` seeds, and its rank among all (ties share one). One with seeds
    that `failed` ranks below all others: its mean is over those that were left."""

    name: str
    mean: float
    n: int
    rank: int
    failed: int = 0


def setting(record: dict[str, Any]) -> tuple[Any, ...]:
    """Return what two runs must share to be compared: experiment, recipe, scale, nominal and actual budget, batch size
    as run (nominal ones differ where the optimizers' recipes do), data, and every command-line change that is not one
    of the optimizer's own hyper-parameters."""
    config = record["config"]
    changes = [text for text in of_record.overrides(record) if not text.startswith(("optim.", "data="))]
    fields = ("exp", "recipe", "scale", "epochs", "updates")
    schedule = config.get("schedule", {})
    return (
        *(record.get(name) for name in fields),
        schedule.get("updates") or schedule.get("epochs"),
        config.get("global_batch_size"),
        config.get("data", {}).get("name"),
        tuple(sorted(changes)),
    )


def contender(record: dict[str, Any]) -> str:
    """Name under which a run competes: its optimizer, with hyper-parameters changed on the command line."""
    changes = sorted(text for text in of_record.overrides(record) if text.startswith("optim."))
    return f"{record['optim']} ({', '.join(changes)})" if changes else record["optim"]


def places(records: Iterable[dict[str, Any]], metric: str, direction: str) -> list[Place]:
    """Runs of one setting that have ended, ranked by mean `metric` over seeds, best first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if of_record.failed(record, metric) or (
            record["status"] == "finished" and of_record.value(record, metric) is not None
        ):
            groups.setdefault(contender(record), []).append(record)
    sign = -1 if direction == "max" else 1
    found = []
    for name, group in groups.items():
        drawn = of_record.first_attempts(group)
        values = of_record.values([record for record in drawn if not of_record.failed(record, metric)], metric)
        failed = len(drawn) - len(values)
        mean = statistics.fmean(values) if values else math.nan
        key = (failed > 0, not values, sign * mean if values else 0.0)
        found.append((key, name, mean, len(values), failed))
    return [
        Place(name, mean, n, 1 + sum(other < key for other, *_ in found), failed)
        for key, name, mean, n, failed in sorted(found, key=lambda one: one[:2])
    ]


def standing(record: dict[str, Any], others: Iterable[dict[str, Any]], metric: str | None = None) -> str:
    """One line: the rank of `record` among the optimizers run at its setting, with every mean.

    `others` are any sealed records; those of another setting are left out, `record` itself is counted once.
    `metric` is top1 where that was measured.
    """
    metric = metric or ("top1" if "top1" in record["summary"] else next(iter(record["summary"]), "top1"))
    same = [other for other in of_record.with_record(others, record) if setting(other) == setting(record)]
    direction = record["config"].get("metrics", {}).get(metric, {}).get("direction", "max")
    ranking = places(same, metric, direction)
    own = next((place for place in ranking if place.name == contender(record)), None)
    if own is None or not own.n:
        return f"this run has no finite {metric} to compare at this setting"
    if len(ranking) == 1:
        return f"the only optimizer run at this setting so far ({_describe(own, own)})"
    few = "" if min(place.n for place in ranking) > 1 else "; with one seed, small gaps may be chance"
    listed = ", ".join(_describe(place, own) for place in ranking)
    return f"{ordinal(own.rank)} of {len(ranking)} at this setting: {listed}{few}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ..., 11th, ..., 21st."""
    suffix = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _describe(place: Place, own: Place) -> str:
    remarks = ["this run"] if place is own else []
    if place.n > 1:
        remarks = [f"mean of {place.n} seeds, this one included" if remarks else f"mean of {place.n} seeds"]
    if place.failed:
        remarks.append(f"{place.failed} of {place.n + place.failed} diverged")
    if not place.n:
        return f"{place.name} without a result ({', '.join(remarks)})"
    return f"{place.name} {place.mean:.2f}" + (f" ({', '.join(remarks)})" if remarks else "")
