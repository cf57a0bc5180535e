"""Reading sealed records (`experiments.record.published`) and what a verdict needs to know about one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from experiments.record import published
from experiments.schema.errors import UserError
from experiments.verdict.equal_data import of_equal_data
from experiments.verdict.today import of_today


def sealed_records() -> list[dict[str, Any]]:
    """All records of this suite, sorted by run name. Raises UserError naming a file that is no record."""
    return [_read(one) for one in published.published()]


def evaluations(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The evaluation events of a sealed run, in order. Raises UserError where no events end as its record says."""
    for copy in published.copies(record["run"]):
        try:
            lines = copy.read(published.EVENTS).splitlines()
        except FileNotFoundError:
            continue
        if lines and json.loads(lines[-1]).get("hash") == record["events"]["hash"]:
            return [json.loads(line) for line in lines if b'"kind":"evaluation"' in line]
    raise UserError(f"results/records/{record['run']}: there is no events.jsonl that ends as its record says")


def same_setting(found: Any, wanted: float) -> bool:
    """Whether a record's setting is `wanted`: equal numbers of files and command lines differ by their spelling at
    most."""
    return isinstance(found, (int, float)) and math.isclose(found, wanted, rel_tol=1e-9)


def with_record(records: Iterable[dict[str, Any]], record: dict[str, Any]) -> list[dict[str, Any]]:
    """`records` with `record` in place of an older one of the same run."""
    return [other for other in records if other["run"] != record["run"]] + [record]


def value(record: dict[str, Any], metric: str) -> float | None:
    """The finite value of `metric` that the paper's cell means (last or best evaluation), or None."""
    summary = record["summary"].get(metric) or {}
    number = summary.get(summary.get("reported", "last"))
    return float(number) if number is not None and math.isfinite(float(number)) else None


def failed(record: dict[str, Any], metric: str) -> bool:
    """Whether the run ended without a finite value of `metric`: a non-finite loss ended it, or left it none."""
    summary = record["summary"].get(metric) or {}
    number = summary.get(summary.get("reported", "last"))
    lost = number is not None and not math.isfinite(float(number))
    return record["status"] == "diverged" or (record["status"] == "finished" and lost)


def values(records: Iterable[dict[str, Any]], metric: str) -> list[float]:
    """The values of those `records` that have one, in their order."""
    return [number for record in records if (number := value(record, metric)) is not None]


def overrides(record: dict[str, Any]) -> list[str]:
    """Command-line settings by which the run left its recipe (`optim.lr=0.01`), as the configuration lists them:
    the choice of the cell itself, and what changes no number, are not among them."""
    return list(record.get("overrides", []))


def own_settings(record: dict[str, Any]) -> list[str]:
    """Dotted paths of the settings whose provenance is `ours`: chosen by this suite, not by the authors."""
    return sorted(
        path or "settings" for path, level in _levels(record["config"].get("provenance", {}), "") if level == "ours"
    )


def one_experiment(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `records` (of one cell or arm) that are draws of one experiment, one a seed: the recipe as it composes
    today, on equal data, and of each seed the first attempt."""
    return first_attempts(of_equal_data(of_today(records)))


def first_attempts(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record per seed, ordered by seed: a repeat of the same seed is no second draw. The first attempt counts,
    whatever came of it, so that no result is drawn again until it pleases."""
    oldest: dict[int, dict[str, Any]] = {}
    for record in records:
        kept = oldest.get(record["seed"])
        if kept is None or _attempt(record) < _attempt(kept):
            oldest[record["seed"]] = record
    return [oldest[seed] for seed in sorted(oldest)]


def _read(one: published.Published) -> dict[str, Any]:
    try:
        record = json.loads(one.record())
        if not isinstance(record, dict) or not {"run", "exp", "optim", "summary", "config"} <= record.keys():
            raise ValueError("fields of a record are missing")
    except ValueError as error:
        raise UserError(f"{one.place} is not a record: {error}") from error
    return record


def _attempt(record: dict[str, Any]) -> int:
    match = re.search(r"-attempt(\d+)$", record["run"])
    return int(match[1]) if match else 1


def _levels(provenance: Any, path: str) -> list[tuple[str, str]]:
    """Pairs of dotted path and provenance level, however deep `{level, source}` entries are nested."""
    if isinstance(provenance, str):
        return [(path, provenance)]
    if not isinstance(provenance, dict):
        return []
    if isinstance(provenance.get("level"), str):
        return [(path, provenance["level"])]
    return [pair for key, inner in provenance.items() for pair in _levels(inner, f"{path}.{key}" if path else key)]
