"""Several runs of one command: the points of a sweep or the cells of a table, with a summary at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.launch import local
from experiments.launch.jobs import Jobs
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import publish
from experiments.schema import paths
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError


@dataclass
class Entry:
    """One run and what became of it."""

    config: RunConfig
    directory: RunDirectory | None = None
    outcome: str = "not begun"


def run(configs: Sequence[RunConfig]) -> int:
    """Train every run that is not done yet, `launch.jobs` at a time, and go on past those that fail.

    Ctrl-C and SIGTERM let the runs under way checkpoint, and begin no other.
    """
    entries = _without_repeats(configs)
    by_path: dict[Path, Entry] = {}
    ranks = max(config.launch.devices for config in configs)
    with Jobs(configs[0].launch.jobs, ranks) as jobs, _stopped_by_signals(jobs) as signals:
        for path, status in jobs.map(_to_train(entries, by_path)):
            _ended(by_path[path], status)
    _summarise(entries)
    if signals:
        return INTERRUPTED if signals[0] == signal.SIGINT else REQUEUE
    return DONE if all(entry.outcome in ("done", "done before") for entry in entries) else FAILED


def _without_repeats(configs: Sequence[RunConfig]) -> list[Entry]:
    """Two cells that are the same run are trained once."""
    unique = {(config_digest(config), config.seed): config for config in configs}
    return [Entry(config) for config in unique.values()]


def _to_train(entries: list[Entry], by_path: dict[Path, Entry]) -> Iterator[Path]:
    """Open the directory of each run when its turn comes; pass over what is done."""
    for number, entry in enumerate(entries, 1):
        heading = f"[{number}/{len(entries)}] {local.title(entry.config)}"
        try:
            entry.directory = RunDirectory.open_or_create(paths.RUNS, entry.config)
        except UserError as error:
            entry.outcome = "failed: its directory"
            print(f"{heading}\nerror: {error}", flush=True)
            continue
        if local.is_done(entry.directory, entry.config):
            entry.outcome = "done before"
            publish(entry.directory)  # in case a kill came between sealing and copying
            print(f"{heading}: done before\nrecord: {entry.directory.record_path}", flush=True)
            continue
        print(f"{heading}\nrun: {entry.directory.path}", flush=True)
        by_path[entry.directory.path] = entry
        yield entry.directory.path


def _ended(entry: Entry, status: int) -> None:
    assert entry.directory is not None
    if status == DONE or local.is_done(entry.directory, entry.config):
        entry.outcome = "done"
        local.report(entry.directory)
    elif status == REQUEUE:
        entry.outcome = "stopped after a checkpoint"
    else:
        entry.outcome = f"killed by signal {-status}" if status < 0 else f"failed with status {status}"
        log = entry.directory.path / "output.log"
        where = f"; its output is in {log}" if log.exists() else ""
        print(f"error: {local.title(entry.config)} {entry.outcome}{where}", file=sys.stderr, flush=True)


def _summarise(entries: list[Entry]) -> None:
    table = Table(title=f"{len(entries)} runs")
    changed = any(entry.config.overrides for entry in entries)
    for column in ("exp", "optim", "epochs", "batch", "seed", *["changed"][:changed], "result", "outcome"):
        table.add_column(column, no_wrap=True)
    for entry in entries:
        config = entry.config
        identity = (config.exp, config.optim["name"], config.epochs, config.batch_size, config.seed)
        changes = [", ".join(config.overrides)][:changed]
        table.add_row(*map(str, identity), *changes, _result(entry), entry.outcome)
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)


def _result(entry: Entry) -> str:
    """The first of the run's metrics, the value that its table means."""
    record = entry.directory.record() if entry.directory else None
    for name, values in ((record or {}).get("summary") or {}).items():
        value = values[values["reported"]]
        return f"{name} {float(value):.2f}" if value is not None else ""
    return ""


@contextmanager
def _stopped_by_signals(jobs: Jobs) -> Iterator[list[int]]:
    """Turn SIGINT and SIGTERM into `jobs.stop()`; yields the signals that came, in order."""
    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if number in came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)
        jobs.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
