"""Seal a run: write what it reached, with everything needed to check it."""

from __future__ import annotations

import json
import platform
from itertools import count
from pathlib import Path
from typing import Any

from experiments.record import provenance
from experiments.record.atomic import keep_beside, write_json
from experiments.record.canonical import plain, restore, sha256, value_digest
from experiments.record.events import read_log
from experiments.record.run_directory import RunDirectory
from experiments.record.summary import summarise
from experiments.record.timing import read_lines, totals
from experiments.schema.budget import budget_of
from experiments.schema.config import MetricConfig
from experiments.schema.digest import config_digest

RECORD_VERSION = 1


def seal(
    directory: RunDirectory,
    *,
    status: str,
    progress: dict[str, int],
    parameters_digest: str | None,
    data: dict[str, Any],
    optimizer: dict[str, Any],
    threads: int,
    split: dict[str, Any],
    peak_memory_bytes: int,
    accelerator: Any = None,
) -> Path:
    """Write record.json and return its path (`publishing` copies it to the results).

    `status` is `finished`, `partial` or `diverged` (a non-finite loss ended it: its parameters have no digest, and
    timing.jsonl says what was found); `progress` has `update`, `total_updates`, `epoch`, `total_epochs` (both
    epochs as counts); `data` is the task's manifest, `optimizer` what `optimizers.describe` says ran, `split` how the
    batch was cut (`ranks`, `micro_batch`, and `batch_norm`: whether the model has any, which sees micro-batches).
    A record that is not finished makes room for a later one by becoming `record.partial-<update>.json`. Sealing the
    same events again changes nothing; a finished record is never replaced. Raises ValueError for an event log that is
    damaged, or that ends otherwise than `status` says.
    """
    if status not in ("finished", "partial", "diverged"):
        raise ValueError(f"a record is finished, partial or diverged, not {status!r}")
    log = read_log(directory.events_path.read_bytes())
    if log.problems:
        raise ValueError(f"{directory.events_path}: {log.problems[0]}")
    ended = bool(log.events) and log.events[-1]["kind"] == "end"
    if ended != (status == "finished"):
        raise ValueError(f"a {status} run has {'an' if status == 'finished' else 'no'} `end` event last")

    sealed = directory.record()
    if sealed is None or not _same(sealed, status, progress, log.good.hash):
        if sealed is not None:
            _keep_partial(directory, sealed)
        config = provenance.without_local_paths(directory.config_tree())
        timing = directory.timing_path.read_bytes() if directory.timing_path.exists() else b""
        clock = totals(timing)
        record = {
            "record_version": RECORD_VERSION,
            "run": directory.name,
            **choices(config),
            "status": status,
            "progress": progress,
            "summary": summarise(log.events, metrics(config)),
            "config_digest": config_digest(config),
            "parameters_digest": parameters_digest,
            "events": {"hash": log.good.hash, "count": log.good.events, "bytes": log.good.bytes},
            "timing": {"sha256": sha256(timing), "bytes": len(timing)},
            "wall_seconds": clock["wall_seconds"],
            "samples_per_second": clock["samples_per_second"],
            "restarts": clock["restarts"],
            "peak_memory_bytes": peak_memory_bytes,
            "code": provenance.code() | {"earlier": _earlier_code(timing)},
            "python": platform.python_version(),
            "packages": provenance.packages(),
            "hardware": provenance.hardware(accelerator),
            "threads": threads,
            "split": split,
            "optimizer": optimizer,
            "data": data,
            "config": config,
        }
        write_json(directory.record_path, with_digests(record))
    return directory.record_path


def load_record(path: Path) -> dict[str, Any]:
    """A record as `seal` wrote it, non-finite numbers as floats."""
    return restore(json.loads(path.read_text(encoding="utf-8")))


def with_digests(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with a short digest of each field, which lets `verify` name the one that was altered, and one of all."""
    record = plain(record)
    record["digests"] = {name: value_digest(value)[:16] for name, value in record.items()}
    return record | {"record_digest": value_digest(record)}


def choices(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record that repeat its configuration, for those who read many records."""
    budget = budget_of(config)
    names = ("recipe", "scale", "seed", budget.unit, "batch_size", "overrides")
    return {"exp": config["exp"], "optim": config["optim"]["name"]} | {name: config[name] for name in names}


def metrics(config: dict[str, Any]) -> dict[str, MetricConfig]:
    """The metrics of the tree of a configuration."""
    return {name: MetricConfig(**metric) for name, metric in config["metrics"].items()}


def _same(sealed: dict[str, Any], status: str, progress: dict[str, int], events_hash: str) -> bool:
    before = (sealed["status"], sealed["progress"], sealed["events"]["hash"])
    same = before == (status, progress, events_hash)
    if sealed["status"] == "finished" and not same:
        raise ValueError(f"run {sealed['run']} is sealed as finished with other events: a new attempt is needed")
    return same


def _keep_partial(directory: RunDirectory, sealed: dict[str, Any]) -> None:
    stem = f"record.partial-{sealed['progress']['update']}"
    names = (f"{stem}.json" if number == 1 else f"{stem}-{number}.json" for number in count(1))
    keep_beside(directory.path, names, directory.record_path.read_bytes())


def _earlier_code(timing: bytes) -> list[dict[str, Any]]:
    """States of the code, other than this process's, that earlier processes of the run had."""
    earlier: list[dict[str, Any]] = []
    for line in read_lines(timing):
        state = line.get("code")
        if state and state != provenance.code() and state not in earlier:
            earlier.append(state)
    return earlier
