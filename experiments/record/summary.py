"""The numbers a run is judged by, recomputed from its events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.schema.config import MetricConfig


def summarise(events: Iterable[Mapping[str, Any]], metrics: Mapping[str, MetricConfig]) -> dict[str, dict[str, Any]]:
    """For every metric its value at the `last` evaluation, the `best` of all, and which of them the paper reports.

    Both values are None when no evaluation has the metric. NaN is never the best, unless nothing else was seen.
    """
    evaluations = [event for event in events if event["kind"] == "evaluation"]
    summary = {}
    for name, metric in metrics.items():
        values = [event[name] for event in evaluations if name in event]
        numbers = [value for value in values if not math.isnan(value)] or values
        choose = max if metric.direction == "max" else min
        summary[name] = {
            "last": values[-1] if values else None,
            "best": choose(numbers) if numbers else None,
            "reported": metric.reported,
        }
    return summary
