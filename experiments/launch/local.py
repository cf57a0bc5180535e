"""One run on this machine, from its directory to its verdict."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.launch.opening import open_run
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE, USER_ERROR
from experiments.record import publishing
from experiments.record.run_directory import RunDirectory, run_name
from experiments.record.seal import load_record
from experiments.schema import paths
from experiments.schema.budget import budget_of, stop_of
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.typed import to_dict
from experiments.training.interruption import handle_stops


def run(config: RunConfig) -> int:
    """Train the run that `config` describes, unless it is done already, and print its verdict and record.

    Ctrl-C, SIGTERM and SIGHUP end it at its next update, after a checkpoint.
    """
    require_room_for_records([config])
    directory = open_run(config)
    if is_done(directory, config):
        report(directory)
        return DONE
    require_room_for_records()
    print(f"{title(config)}\nrun: {directory.path}", flush=True)
    with graceful_signals() as stop:
        status = train(directory.path)
    if status == DONE:
        report(directory)
    elif directory.status() == "diverged":
        copy_record(directory)
    elif status in (REQUEUE, INTERRUPTED):
        print("stopped after a checkpoint; the same command again goes on from there", file=sys.stderr)
        return INTERRUPTED if stop.by_keyboard else status
    return status


def train(*paths: Path) -> int:
    """Train the run of a directory in this process, or as several ranks, or the runs of several as one batch; return
    the exit status.

    Errors are printed here: in full, unless they are the user's.
    """
    try:
        devices = RunDirectory(paths[0]).config().launch.devices
        if devices > 1:
            from experiments.launch import elastic

            return elastic.run(paths[0], devices)
        from experiments.launch import worker

        return worker.run(*paths)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except Exception:
        traceback.print_exc()
        return FAILED


def require_room_for_records(configs: Sequence[RunConfig] = ()) -> None:
    """Raise UserError where records cannot be copied to the results. Not when all of `configs` have records already:
    what has ended is to have its verdict all the same."""
    recorded = [(paths.RUNS / run_name(to_dict(config)) / "record.json").exists() for config in configs]
    if not (recorded and all(recorded)) and (refusal := publishing.refusal()):
        raise UserError(refusal)


def is_done(directory: RunDirectory, config: RunConfig) -> bool:
    """Whether a run has reached what `config` asks for: its end, or the point where `stop_at` ends it. Raises UserError
    for a damaged record that no published copy stands for."""
    try:
        record = directory.record()
    except UserError:
        copy = publishing.sound_copy(directory)
        if copy is None:
            raise
        record = load_record(copy)
    if record is None or record["status"] != "partial":
        return record is not None and record["status"] == "finished"
    return record["progress"]["update"] == stop_of(config)


def report(directory: RunDirectory) -> Path:
    """Print the verdict of a sealed run; the last line is `record: <path>` of the record that verifies, which is
    returned."""
    from experiments.verdict.block import verdict_block

    record = copy_record(directory)
    print(verdict_block(load_record(record)))
    print(f"record: {record}", flush=True)
    return record


def copy_record(directory: RunDirectory) -> Path:
    """Publish a sealed run (again, in case a kill came between sealing and copying), tell the user what is to be told,
    and return the record that stands for the run. Raises UserError where none does."""
    publication = publishing.publish(directory)
    for notice in publication.notices:
        print(f"warning: {notice}", file=sys.stderr, flush=True)
    return publication.record


def title(config: RunConfig) -> str:
    """One line that tells a run from its neighbours."""
    nominal = f"recipe {config.recipe}, {budget_of(vars(config))}, batch {config.batch_size}"
    return f"{config.exp} {config.optim['name']} ({nominal}, {config.scale} scale, seed {config.seed})"


class Stop:
    """Say what ended a run early."""

    by_keyboard = False


@contextmanager
def graceful_signals() -> Iterator[Stop]:
    """Make the first Ctrl-C a SIGTERM, and a SIGTERM or SIGHUP that comes before training has begun an exit with 75.

    While a run trains, the loop (or torch elastic) has its own handlers for those.
    """
    stop = Stop()

    def on_interrupt(_number: int, _frame: object) -> None:
        stop.by_keyboard = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGTERM)

    def on_terminate(_number: int, _frame: object) -> None:
        sys.exit(INTERRUPTED if stop.by_keyboard else REQUEUE)

    before = {signal.SIGINT: signal.signal(signal.SIGINT, on_interrupt), **handle_stops(on_terminate)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
