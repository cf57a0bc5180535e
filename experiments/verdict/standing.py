"""How a run stands against the other optimizers run at the same setting, where the paper is no measure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from experiments.verdict import records as of_record


@dataclass(frozen=True)
class Place:
    """One optimizer at a setting: the mean over its `n` seeds, and its rank among all (ties share one)."""

    name: str
    mean: float
    n: int
    rank: int


def setting(record: dict[str, Any]) -> tuple[Any, ...]:
    """What two runs must share to be compared: experiment, recipe, scale, nominal and actual budget, batch size as
    run (nominal ones differ where the optimizers' recipes do), data, and every command-line change that is not one
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
    """Finished runs of one setting, ranked by mean `metric` over seeds, best first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["status"] == "finished" and of_record.value(record, metric) is not None:
            groups.setdefault(contender(record), []).append(record)
    values = {name: of_record.values(of_record.latest_attempts(group), metric) for name, group in groups.items()}
    means = {name: statistics.fmean(group) for name, group in values.items()}
    sign = -1 if direction == "max" else 1
    return [
        Place(name, mean, len(values[name]), 1 + sum(sign * other < sign * mean for other in means.values()))
        for name, mean in sorted(means.items(), key=lambda item: (sign * item[1], item[0]))
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
    if own is None:
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
    return f"{place.name} {place.mean:.2f}" + (f" ({', '.join(remarks)})" if remarks else "")
