"""Several runs of one command: the points of a sweep or the cells of a table, with a summary at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.launch import local
from experiments.launch.jobs import Jobs, Run
from experiments.launch.opening import open_run
from experiments.launch.seed_batches import seed_batches
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import load_record
from experiments.schema.budget import budget_of
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.training.batched_seeds import goes_on
from experiments.training.interruption import handle_stops

DIVERGED = "ended by a non-finite loss"


@dataclass
class Entry:
    """One run and what became of it; `heading` is what is printed of it first."""

    config: RunConfig
    heading: str = ""
    directory: RunDirectory | None = None
    outcome: str = "not begun"
    record: Path | None = None  # the one that stands for the run


def run(configs: Sequence[RunConfig]) -> int:
    """Train every one of these different runs that is not done yet, `launch.jobs` processes at a time, and go on past
    those that fail.

    Ctrl-C, SIGTERM and SIGHUP let the runs under way checkpoint, and begin no other.
    """
    local.require_room_for_records(configs)
    batches = [[Entry(config) for config in batch] for batch in seed_batches(configs)]
    under_way: dict[Run, list[Entry]] = {}
    ranks = max(config.launch.devices for config in configs)
    with Jobs(configs[0].launch.jobs, ranks) as jobs, _stopped_by_signals(jobs) as signals:
        for run, status in jobs.map(_to_train(batches, under_way)):
            for entry in under_way[run]:
                _ended(entry, status)
    entries = [entry for batch in batches for entry in batch]
    _summarise(entries)
    if signals:
        return INTERRUPTED if signals[0] == signal.SIGINT else REQUEUE
    return DONE if all(entry.outcome in ("done", "done before") for entry in entries) else FAILED


def _to_train(batches: list[list[Entry]], under_way: dict[Run, list[Entry]]) -> Iterator[Run]:
    """Open the directories of each batch when its turn comes; pass over what has ended. Only a batch that was begun as
    it is goes on whole: where a kill came between the records of its runs, those that have one are not changed."""
    number, total = 0, sum(map(len, batches))
    for batch in batches:
        for entry in batch:
            number += 1
            entry.heading = f"[{number}/{total}] {local.title(entry.config)}"
        try:
            opened = [(entry, open_run(entry.config)) for entry in batch]
            ended = {entry.heading: _ended_before(directory, entry) for entry, directory in opened}
            if not all(ended.values()) and goes_on([(entry.config, directory) for entry, directory in opened]):
                ended = dict.fromkeys(ended, "")
        except UserError as error:
            for entry in batch:
                entry.outcome = "failed: its directory or its data"
            print(f"{batch[0].heading}\nerror: {error}", flush=True)
            continue
        for entry, directory in opened:
            entry.directory = directory
            print(entry.heading, end="", flush=True)
            if outcome := ended[entry.heading]:
                print(f": {outcome}", flush=True)
                _settle(entry, outcome, local.copy_record)
                print(f"record: {entry.record}" if entry.record else "", flush=True)
            else:
                print(f"\nrun: {directory.path}", flush=True)
        left = [(entry, directory) for entry, directory in opened if not ended[entry.heading]]
        if left:
            run = tuple(directory.path for _, directory in left)
            under_way[run] = [entry for entry, _ in left]
            yield run


def _ended_before(directory: RunDirectory, entry: Entry) -> str:
    """The outcome of a run that is not to be trained again, empty for one that is."""
    if local.is_done(directory, entry.config):
        return "done before"
    return DIVERGED if directory.status() == "diverged" else ""


def _ended(entry: Entry, status: int) -> None:
    assert entry.directory is not None
    if status == DONE or local.is_done(entry.directory, entry.config):
        _settle(entry, "done", local.report)
    elif entry.directory.status() == "diverged":
        _settle(entry, DIVERGED, local.copy_record)
        print(f"error: {local.title(entry.config)}: {DIVERGED}", file=sys.stderr, flush=True)
    elif status == REQUEUE:
        entry.outcome = "stopped after a checkpoint"
    else:
        entry.outcome = f"killed by signal {-status}" if status < 0 else f"failed with status {status}"
        log = entry.directory.path / "output.log"
        where = f"; its output is in {log}" if log.exists() else ""
        where += "; the same command goes on from its last checkpoint" if status < 0 else ""
        print(f"error: {local.title(entry.config)} {entry.outcome}{where}", file=sys.stderr, flush=True)


def _settle(entry: Entry, outcome: str, publish: Callable[[RunDirectory], Path]) -> None:
    """Give a sealed run its outcome and the record that stands for it; where no record does, that is its outcome."""
    assert entry.directory is not None
    entry.outcome = outcome
    try:
        entry.record = publish(entry.directory)
    except UserError as error:
        entry.outcome = "failed: its record"
        print(f"error: {error}", file=sys.stderr, flush=True)


def _summarise(entries: list[Entry]) -> None:
    table = Table(title=f"{len(entries)} runs")
    changed = any(entry.config.overrides for entry in entries)
    for column in ("exp", "optim", "recipe", "budget", "batch", "seed", *["changed"][:changed], "result", "outcome"):
        table.add_column(column, no_wrap=column != "changed")
    for entry in entries:
        config = entry.config
        budget = budget_of(vars(config))
        identity = (config.exp, config.optim["name"], config.recipe, budget, config.batch_size, config.seed)
        changes = [", ".join(config.overrides)][:changed]
        table.add_row(*map(str, identity), *changes, _result(entry), entry.outcome)
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)


def _result(entry: Entry) -> str:
    """The first of the run's metrics, the value that its table means."""
    if entry.record is None:
        return ""
    for name, values in load_record(entry.record)["summary"].items():
        value = values[values["reported"]]
        return f"{name} {float(value):.2f}" if value is not None else ""
    return ""


@contextmanager
def _stopped_by_signals(jobs: Jobs) -> Iterator[list[int]]:
    """Turn SIGINT, SIGTERM and SIGHUP into `jobs.stop()`; yields the signals that came, in order."""
    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if number in came and number == signal.SIGINT:
            raise KeyboardInterrupt
        came.append(number)
        jobs.stop()

    before = {signal.SIGINT: signal.signal(signal.SIGINT, stop), **handle_stops(stop)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
