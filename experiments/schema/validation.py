"""What a run calls its metrics where it is evaluated on part of its training set, so that none passes for a test's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from experiments.schema.config import MetricConfig


def validation_name(metric: str) -> str:
    """`val_top1` of `top1`, `val_loss` of `eval_loss`."""
    return f"val_{metric.removeprefix('eval_')}"


def validation_metrics(metrics: Mapping[str, MetricConfig]) -> dict[str, MetricConfig]:
    """The same metrics, measured on the validation split, under its names."""
    renamed = {}
    for name, metric in metrics.items():
        of, by = metric.of and validation_name(metric.of), metric.selected_by and validation_name(metric.selected_by)
        renamed[validation_name(name)] = replace(metric, of=of, selected_by=by)
    return renamed
