"""Tables as CSV in long format: one row per cell and scale, every number that the other formats round."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from experiments.report.collect import Result
from experiments.schema.tables import Table
from experiments.verdict.student_t import Interval

FIELDS = (
    "table",
    "exp",
    "optim",
    "recipe",
    "epochs",
    "updates",
    "batch_size",
    "scale",
    "metric",
    "reported_id",
    "reported",
    "reported_by",
    "reported_source",
    "ours_mean",
    "ours_low",
    "ours_high",
    "n",
    "seeds",
    "difference",
    "difference_low",
    "difference_high",
    "smallest_detectable",
    "verdict",
    "early_look",
    "text",
    "runs",
)


def long(table: Table, results: Iterable[Result]) -> str:
    """The CSV text, header first. Lists (seeds, runs) are separated by spaces; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(table, result) for result in results)
    return text.getvalue()


def _row(table: Table, result: Result) -> dict[str, Any]:
    cell, verdict = result.cell, result.verdict
    ours_low, ours_high = _ends(result.interval)
    low, high = _ends(verdict.interval)
    return {
        "table": table.name,
        "exp": cell.exp,
        "optim": cell.optim,
        "recipe": cell.recipe,
        "epochs": cell.epochs,
        "updates": cell.updates,
        "batch_size": cell.batch_size,
        "scale": result.scale,
        "metric": result.cell.metric or table.metric,
        "reported_id": cell.reported,
        "reported": result.reported.value if result.reported else None,
        "reported_by": result.reported.provenance if result.reported else None,
        "reported_source": "; ".join(result.reported.source) if result.reported else None,
        "ours_mean": _rounded(result.mean),
        "ours_low": ours_low,
        "ours_high": ours_high,
        "n": result.n,
        "seeds": " ".join(map(str, result.seeds)),
        "difference": _rounded(verdict.difference),
        "difference_low": low,
        "difference_high": high,
        "smallest_detectable": _rounded(verdict.smallest_detectable),
        "verdict": verdict.kind,
        "early_look": verdict.early,
        "text": verdict.text,
        "runs": " ".join(result.runs),
    }


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (_rounded(interval.low), _rounded(interval.high)) if interval else (None, None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
