"""Check a sealed record against the files beside it, and name what does not fit.

Works on a run directory, on its copy anywhere, on `results/records` and on what a bundle holds: only files beside the
record are read.
It finds what was altered, lost or mixed up. It is no signature: who recomputes every digest can forge a record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from experiments.record.canonical import plain, sha256, value_digest
from experiments.record.events import read_log
from experiments.record.provenance import without_local_paths
from experiments.record.run_directory import run_name
from experiments.record.seal import RECORD_VERSION, choices, metrics
from experiments.record.summary import summarise
from experiments.record.timing import totals
from experiments.schema.budget import EPOCHS, budget_of
from experiments.schema.digest import config_digest
from experiments.schema.epochs import Epochs
from experiments.schema.errors import UserError

_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, UserError)
Read = Callable[[str], bytes]
SHOWN = 120  # characters of an error: one that quotes a binary file quotes all of it


def verify(path: Path) -> list[str]:
    """Return what is wrong with the record at `path`: a record.json, or the directory that holds it. Empty when it is
    good.

    A partial record is checked against that part of the event log which it sealed: its run may have gone on.
    """
    path = path / "record.json" if path.is_dir() else path
    return verify_files(lambda name: (path.parent / name).read_bytes(), path.name)


def verify_files(read: Read, name: str = "record.json") -> list[str]:
    """The same of a record wherever it lies: `read(file)` gives the bytes of a file of the run, or raises
    FileNotFoundError; `name` is that of the record."""
    try:
        record = json.loads(read(name))
        if record["record_version"] != RECORD_VERSION:
            return [f"{name}: version {record['record_version']!r}, this code knows version {RECORD_VERSION}"]
    except FileNotFoundError:
        return [f"{name} is missing: this run is not sealed"]
    except _BROKEN as error:
        return [f"{name} cannot be read: {_said(error)}"]
    problems: list[str] = []
    try:
        problems += _check_digests(record, name)
        problems += _check_choices(record, name)
        problems += _check_config_file(record, read)
        problems += _check_events(record, name, read)
        problems += _check_timing(record, name, read)
    except OSError as error:
        problems.append(f"{Path(error.filename or name).name} cannot be read: {error.strerror}")
    except _BROKEN as error:
        problems.append(f"{name}: a field is missing or not what it should be: {_said(error)}")
    return problems


def _said(error: Exception) -> str:
    said = f"{type(error).__name__}: {error.strerror if isinstance(error, OSError) else error}"
    return said if len(said) <= SHOWN else f"{said[:SHOWN]} ..."


def _check_digests(record: dict[str, Any], name: str) -> Iterator[str]:
    """The record against its own digests: of every field, and of all."""
    digests = record.get("digests")
    fields = {key: value for key, value in record.items() if key not in ("digests", "record_digest")}
    if not isinstance(digests, dict):
        yield f"{name}: digests is missing"
        digests = {key: value_digest(value)[:16] for key, value in fields.items()}
    for key in sorted(fields.keys() | digests.keys()):
        if key not in fields:
            yield f"{name}: {key} was removed"
        elif key not in digests:
            yield f"{name}: {key} was added"
        elif value_digest(fields[key])[:16] != digests[key]:
            yield f"{name}: {key} was altered"
    rest = {key: value for key, value in record.items() if key != "record_digest"}
    if record.get("record_digest") != value_digest(rest):
        yield f"{name}: record_digest does not match the record"


def _check_choices(record: dict[str, Any], name: str) -> Iterator[str]:
    """Check what the record repeats of its configuration."""
    config = record["config"]
    if record["config_digest"] != config_digest(config):
        yield f"{name}: config_digest is not that of its config"
    for key, value in choices(config).items():
        if value != record[key]:
            yield f"{name}: {key} is {record[key]!r}, its config says {value!r}"
    if record["run"].split("-attempt")[0] != run_name(config).split("-attempt")[0]:
        yield f"{name}: run is {record['run']!r}, its config makes {run_name(config)!r}"


def _check_config_file(record: dict[str, Any], read: Read) -> Iterator[str]:
    name = "config.json"
    try:
        tree = json.loads(read(name))
        digests = config_digest(tree), config_digest(record["config"])
        different = sorted(_differences(without_local_paths(tree), record["config"]))
    except FileNotFoundError:
        yield f"{name} is missing"
        return
    except _BROKEN as error:
        yield f"{name} cannot be read: {_said(error)}"
        return
    same_run = digests[0] == digests[1] and tree["seed"] == record["config"]["seed"]
    if different and (record["status"] == "finished" or not same_run):  # a run that goes on may get another stop_at
        yield f"{name}: {', '.join(different)} differ{'s' * (len(different) == 1)} from the record's config"


def _differences(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """Dotted keys at which two trees differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one.keys() | other.keys():
            missing = object()
            yield from _differences(one.get(name, missing), other.get(name, missing), f"{key}.{name}" if key else name)
    elif one != other:
        yield key


def _check_events(record: dict[str, Any], name: str, read: Read) -> Iterator[str]:
    """The log's chain, the record's seal on it, and everything in the record that follows from events."""
    log_name, sealed = "events.jsonl", record["events"]
    try:
        content = read(log_name)
    except FileNotFoundError:
        yield f"{log_name} is missing"
        return
    log = read_log(content if record["status"] == "finished" else content[: sealed["bytes"]])
    yield from (f"{log_name}: {problem}" for problem in log.problems)
    if not log.problems:
        for key, value in (("count", log.good.events), ("bytes", log.good.bytes), ("hash", log.good.hash)):
            if sealed[key] != value:
                yield f"{log_name}: {key} is {value}, sealed was {sealed[key]}"

    summary = plain(summarise(log.events, metrics(record["config"])))
    for key in sorted(_differences(summary, record["summary"])):
        yield f"{name}: summary.{key} does not follow from the events"
    schedule = record["config"]["schedule"]
    budget = budget_of(schedule)
    begin, end, progress = log.events[0], log.events[-1], record["progress"]
    update, epochs = progress["update"], Epochs.from_event(begin["updates_per_epoch"], begin["total_updates"])
    expected = {
        "progress.total_updates": (progress["total_updates"], begin["total_updates"]),
        "progress.total_epochs": (progress["total_epochs"], len(epochs.updates)),
        "progress.epoch": (progress["epoch"], epochs.done(update)),
        "config_digest": (record["config_digest"], begin["config_digest"]),
        "seed": (record["seed"], begin["seed"]),
    }
    if budget.unit == EPOCHS:
        expected["progress.total_epochs"] = (progress["total_epochs"], budget.count + schedule["cooldown_epochs"])
    else:
        expected["progress.total_updates"] = (progress["total_updates"], budget.count)
    if record["status"] == "finished":
        expected["progress.update"] = (update, end.get("update"))
        expected["parameters_digest"] = (record["parameters_digest"], end.get("parameters_digest"))
        expected["status"] = (record["status"], end.get("status"))
        if end.get("update") != begin["total_updates"]:
            yield f"{log_name}: the run ended at update {end.get('update')} of {begin['total_updates']}"
    elif not (
        max(event.get("update", 0) for event in log.events)
        <= update
        <= begin["total_updates"] - (record["status"] == "partial")
    ):
        yield f"{name}: progress.update {update} does not fit the events"
    for key, (value, follows) in expected.items():
        if value != follows:
            yield f"{name}: {key} is {value!r}, the events say {follows!r}"


def _check_timing(record: dict[str, Any], name: str, read: Read) -> Iterator[str]:
    """The wall-clock file as far as it was sealed, and the sums over it. Later lines are no fault."""
    timing, there = "timing.jsonl", True
    try:
        content = read(timing)[: record["timing"]["bytes"]]
    except FileNotFoundError:
        content, there = b"", False
    if sha256(content) != record["timing"]["sha256"]:
        yield f"{timing} was altered" if there else f"{timing} is missing"
        return
    clock = plain(totals(content))
    for key in ("wall_seconds", "samples_per_second", "restarts"):
        if record[key] != clock[key]:
            yield f"{name}: {key} is {record[key]!r}, {timing} says {clock[key]!r}"
