"""The numbers a run is judged by, recomputed from its events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.schema.config import MetricConfig


def summarise(events: Iterable[Mapping[str, Any]], metrics: Mapping[str, MetricConfig]) -> dict[str, dict[str, Any]]:
    """For every metric its value at the `last` evaluation, the `best` of all, the one `selected` by another metric
    where it names one, and which of them the paper reports.

    Values are None when no evaluation has the metric. NaN is never the best, unless nothing else was seen; of equal
    values the first is.
    """
    evaluations = [event for event in events if event["kind"] == "evaluation"]
    summary = {}
    for name, metric in metrics.items():
        shown = metric.of or name
        values = [event[shown] for event in evaluations if shown in event]
        best = _best(evaluations, shown, metric.direction)
        summary[name] = {
            "last": values[-1] if values else None,
            "best": best[shown] if best else None,
            "reported": metric.reported,
        }
        if metric.selected_by:
            chosen = _best(evaluations, metric.selected_by, metrics[metric.selected_by].direction)
            summary[name]["selected"] = chosen.get(shown) if chosen else None
    return summary


def _best(evaluations: list[Mapping[str, Any]], name: str, direction: str) -> Mapping[str, Any] | None:
    """The evaluation in which a metric was best, None where none has it."""
    with_it = [event for event in evaluations if name in event]
    candidates = [event for event in with_it if not math.isnan(event[name])] or with_it
    choose = max if direction == "max" else min
    return choose(candidates, key=lambda event: event[name], default=None)
