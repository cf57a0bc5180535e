"""Measure what issue 14 set targets for on a GPU: `python scripts/bench_gpu.py [--data FOLDER] [--output PAGE.md]`.

Whole updates of the loop, captured in CUDA graphs and not (`loop_timing.py`); images through ViT-S at paper scale
beside a plain loop of timm's parts (`plain_vit.py`); and Adan's step on the parameters of ViT-S beside AdamW's, both
captured (`bench_optimizer.py`). Contenders are interleaved in one process, segment by segment; reported are medians and
quartiles, and whether the target was reached. Pixels change no time: images are noise, but for CIFAR-10 where `--data`
has it. The Penn Treebank cannot be made up: without it in `--data` its row is left out.

With `--output` each row is written as soon as it is measured, numbers as JSON beside the page; the same command again
measures what the page lacks for this code on this card (`--again`: all). `--device cpu` is a rehearsal with mini
variants of the shapes: nothing is captured there, and no target applies.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bench_optimizer
import checkout  # noqa: F401
import gpu_paces
import numpy as np
import torch
from loop_timing import Interrupted, TimedRun, begun, interleaved
from PIL import Image

from experiments.data.cifar10 import ARCHIVE
from experiments.launch.status import DONE, REQUEUE, USER_ERROR
from experiments.record import provenance
from experiments.record.atomic import write_atomically, write_json
from experiments.schema.batches import micro_batch
from experiments.schema.errors import UserError
from experiments.training import parallel

EAGER, CAPTURED, PLAIN = "eager", "captured", "plain loop of timm's parts"
CIFAR10, PTB, PHOTOGRAPHS = "cifar10", "ptb", "photographs"
SMALL_NOISE = (20_480, 1_280)  # images for training and for evaluation
LARGE_NOISE = (20_480, 256)
DISTINCT = 64  # files of large noise; the others are links to them
SMALL_IMAGES = (
    "augmentation.pipeline=batched augmentation.padding=4 augmentation.scale=[1,1] augmentation.ratio=[1,1] "
    "augmentation.auto_augment=null augmentation.random_erasing=0.0 augmentation.repeats=0"
)
VIT = (
    "exp=vit_small data=cifar10 data.image_size=32 batch_size=512 batch_per_device=512 model.arguments.img_size=32 "
    "model.arguments.patch_size=4 model.arguments.embed_dim=192 model.arguments.depth=9 model.arguments.num_heads=3 "
    f"schedule.epochs=50 schedule.warmup_epochs=5 {SMALL_IMAGES}"
)
TINY_VIT = (
    "batch_size=16 batch_per_device=8 precision=fp32 data.workers=1 model.arguments.embed_dim=24 "
    "model.arguments.depth=1 model.arguments.num_heads=2"
)


@dataclass(frozen=True)
class Shape:
    """A run whose updates are measured: overrides at paper scale, the data it needs, the target in ms an update, and
    in minutes for its 200 epochs with their evaluations."""

    name: str
    overrides: str
    target: float | None
    data: str = CIFAR10
    minutes: float | None = None


SHAPES = (
    Shape("PTB LSTM, 1 layer", "exp=ptb_lstm_1 optim=adan", 2.9, PTB, 9.0),
    Shape("ResNet-34 on CIFAR-10, batch 128, bf16", "exp=cifar10_resnet34 optim=adan precision=bf16", 6.6, minutes=9.0),
    Shape("WRN-22 x6, batch 512, bf16", "exp=cifar10_wrn22 optim=adan precision=bf16 batch_size=512", 19.5),
    Shape("ViT 192 x 9, patch 4, 32 px, batch 512, bf16", f"{VIT} optim=adan precision=bf16", 17.0),
)
VIT_SMALL = Shape("ViT-S at paper scale, fp16", "exp=vit_small optim=adan", None, PHOTOGRAPHS)
OVER_PLAIN = 1.05  # target: images a second over the plain loop's
STEP = "Adan's step on ViT-S, 152 tensors"
NAMES = (*(shape.name for shape in SHAPES), VIT_SMALL.name, STEP)
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=Path, help="folder with the CIFAR-10 archive, ptb.*.txt, or both")
    parser.add_argument("--segments", type=int, default=5, help="of each contender")
    parser.add_argument("--seconds", type=float, help="of a segment, about; default 1.5, on a CPU 0.2")
    parser.add_argument("--output", type=Path, help="write the page there, and the numbers as JSON beside it")
    parser.add_argument("--again", action="store_true", help="measure all rows, also those that the page has")
    arguments = parser.parse_args()
    try:
        device = parallel.choose_device(arguments.device, 0)
    except UserError as error:
        print(f"error: {str(error).replace('launch.', '--')}", file=sys.stderr)
        return USER_ERROR
    if device.type == "cpu":
        torch.set_num_threads(1)
    output, data = arguments.output, arguments.data and arguments.data.resolve()
    rows = {row["name"]: row for row in kept(output)} if output and not arguments.again else {}
    seconds = arguments.seconds or (1.5 if device.type == "cuda" else 0.2)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, data, Path(folder), arguments.segments, seconds)
        for name in NAMES:
            if not lacks(rows.get(name), data):
                continue
            try:
                rows[name] = bench.row(name)
            except Interrupted:
                print(f"interrupted while measuring {name}; the rows before it are kept", file=sys.stderr)
                return REQUEUE
            print("\n".join(lines(rows[name], device.type == "cuda")), file=sys.stderr, flush=True)
            if output:
                write(output, [rows[each] for each in NAMES if each in rows], device)
    print(page([rows[name] for name in NAMES], device))
    return DONE


class Bench:
    """Measures one row after another."""

    def __init__(self, device: torch.device, data: Path | None, folder: Path, segments: int, seconds: float) -> None:
        self.device, self.data, self.folder = device, data, folder
        self.segments, self.seconds, self.on_gpu = segments, seconds, device.type == "cuda"

    def row(self, name: str) -> Row:
        """The row of this name, or why it was left out: what fails does not take the others with it."""
        shapes = {shape.name: shape for shape in (*SHAPES, VIT_SMALL)}
        shape = shapes.get(name)
        if shape and self.on_gpu and shape.data == PTB and not has_ptb(self.data):
            missing = "no Penn Treebank: --data needs ptb.train.txt, ptb.valid.txt and ptb.test.txt"
            return {"name": name, "wants": PTB, "left_out": missing}
        try:
            if shape is None:
                return {"name": name, **self.step()}
            return {"name": name, **(self.images(shape) if shape is VIT_SMALL else self.updates(shape))}
        except (UserError, RuntimeError) as error:
            return {"name": name, "left_out": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        finally:
            if self.on_gpu:
                torch.cuda.empty_cache()

    def updates(self, shape: Shape) -> Row:
        """Seconds an update of the loop, of each way; with real data also of an evaluation."""
        overrides, made_up = self.overrides(shape)
        with ExitStack() as stack:
            runs = self.runs(overrides, stack)
            run = next(iter(runs.values())).run
            epoch = run.epochs.updates[0]
            # Pieces of text have some forty lengths; in an epoch each is met, and recorded.
            warm_up = epoch if shape.data == PTB and self.on_gpu else 10
            times = interleaved({way: each.perform for way, each in runs.items()}, warm_up, self.segments, self.seconds)
            row: Row = {"target": shape.target, "run": gpu_paces.shape_of(run.config), "seconds": times}
            if shape.minutes and not made_up:
                evaluations = {way: min(each.evaluate() for _ in range(2)) for way, each in runs.items()}
                row |= {"minutes": shape.minutes, "evaluation": evaluations, "updates": run.total_updates}
                row["epochs"] = run.config.total_epochs
        return row

    def images(self, shape: Shape) -> Row:
        """Images a second through the recipe of ViT-S, read from JPEG files."""
        from plain_vit import PlainTrainer

        overrides, _ = self.overrides(shape)
        with ExitStack() as stack:
            runs = self.runs(overrides, stack)
            config = next(iter(runs.values())).run.config
            contenders: dict[str, Callable[[int], float]] = {way: each.perform for way, each in runs.items()}
            contenders[PLAIN] = PlainTrainer(config, micro_batch(config, 1), self.device).perform
            times = interleaved(contenders, 3, self.segments, 2 * self.seconds)
        batch = config.global_batch_size
        return {"images": {way: [batch / each for each in found] for way, found in times.items()}, "target": OVER_PLAIN}

    def step(self) -> Row:
        """Ratios of Adan's step to AdamW's of the same round."""
        if self.on_gpu:
            known = bench_optimizer.contenders(None) | bench_optimizer.captured_contenders()
            case = next(each for each in bench_optimizer.gpu_cases() if each.reference != bench_optimizer.REFERENCE)
        else:
            known = bench_optimizer.contenders(None)
            names = (bench_optimizer.REFERENCE, "ours", "ours, clipping")
            case = bench_optimizer.Case("", [(384, 384)] * 4, names)
        bench_optimizer.measure(case, known, self.device.type, 3 * self.segments)
        ratios = {name: case.ratios(name, case.reference) for name in case.times if "ours" in name}
        targets = {name: bound for _, name, _, bound in case.targets}
        return {"ratios": ratios, "reference": case.reference, "targets": targets}

    def runs(self, overrides: list[str], stack: ExitStack) -> dict[str, TimedRun]:
        """A run for each way to perform an update; a CPU has nothing to capture."""
        ways = {EAGER: "capture=false"} | ({CAPTURED: "capture=true"} if self.on_gpu else {})
        return {
            way: stack.enter_context(begun([*overrides, flag], self.device, self.folder)) for way, flag in ways.items()
        }

    def overrides(self, shape: Shape) -> tuple[list[str], bool]:
        """The command line of a shape, and whether its images are made up."""
        given = shape.overrides.split()
        if shape.data == PHOTOGRAPHS:
            workers = [f"data.workers={max(1, cores() - 1)}"] if self.on_gpu else TINY_VIT.split()
            return [*given, "scale=paper", *workers, *self._noise("photographs", 375, 500, "jpg", LARGE_NOISE)], True
        if not self.on_gpu:
            return [text for text in given if text.startswith(("exp=", "optim="))] + ["launch.threads=1"], True
        if shape.data == PTB:
            return [*given, "scale=paper", f"data.root={self.data}"], False
        if self.data and (self.data / ARCHIVE).is_file():
            return [*given, "scale=paper", f"data.root={self.data}"], False
        return [*given, "scale=paper", *self._noise("small", 32, 32, "bmp", SMALL_NOISE)], True

    def _noise(self, name: str, height: int, width: int, kind: str, sizes: tuple[int, int]) -> list[str]:
        """An image folder of ten classes, made once, as overrides. Of photographs few files are distinct."""
        folder, generator = self.folder / name, np.random.default_rng(0)
        train, test = sizes if self.on_gpu else (64, 16)
        if not folder.exists():
            distinct = DISTINCT if kind == "jpg" else max(train, test)
            for split, count in (("train", train), ("val" if kind == "jpg" else "test", test)):
                for label in range(10):
                    (folder / split / str(label)).mkdir(parents=True)
                for index in range(count):
                    path = folder / split / str(index % 10) / f"{index}.{kind}"
                    if index >= distinct:
                        path.hardlink_to(folder / split / str(index % distinct % 10) / f"{index % distinct}.{kind}")
                        continue
                    coarse = generator.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
                    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
        return [f"data.root={folder}", f"data.train_size={train}", f"data.test_size={test}", "data.num_classes=10"]


def cores() -> int:
    """How many this process may use."""
    return provenance.hardware()["cores"]


def has_ptb(data: Path | None) -> bool:
    return data is not None and all((data / f"ptb.{split}.txt").is_file() for split in ("train", "valid", "test"))


def read_rows(output: Path) -> list[Row]:
    """The rows beside a page; none where there is none."""
    return _read(output).get("rows", [])


def kept(output: Path) -> list[Row]:
    """Those that this very code has measured."""
    code = provenance.code()
    return read_rows(output) if code["revision"] and _read(output).get("code") == code else []


def lacking(output: Path, data: Path | None) -> bool:
    """Whether there is a row to measure."""
    rows = {row["name"]: row for row in kept(output)}
    return any(lacks(rows.get(name), data) for name in NAMES)


def lacks(row: Row | None, data: Path | None) -> bool:
    """Whether a row is not there, or was left out for data that are there now."""
    return row is None or (row.get("wants") == PTB and has_ptb(data))


def _read(output: Path) -> dict[str, Any]:
    try:
        return json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write(output: Path, rows: list[Row], device: torch.device) -> None:
    """The page, and the numbers beside it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, page(rows, device).encode())
    write_json(output.with_suffix(".json"), {"code": provenance.code(), "rows": rows})


def page(rows: list[Row], device: torch.device) -> str:
    """The tables as Markdown, with hardware and versions."""
    title = "# What issue 14 set targets for, on a GPU"
    if device.type == "cpu":
        title = "# A rehearsal of the GPU's benchmarks: cpu, mini shapes, no target applies"
    code = provenance.code()
    revision = f"revision {(code['revision'] or 'unknown')[:12]}"
    revision += ", with changes that were not committed" if code["diff_digest"] else ""
    head = [
        title,
        "",
        f"{setting(device)}; {datetime.now(UTC):%Y-%m-%d}, {revision}.",
        "",
        "`python scripts/bench_gpu.py`: medians, and in parentheses quartiles, of interleaved segments. Images are "
        "noise but for those of CIFAR-10 where it was given. The plain loop is timm's parts as its train.py, which is "
        "not in its package, puts them together.",
        "",
        "| | measured | beside it | ratio | to reach | |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(line for row in rows for line in lines(row, device.type == "cuda"))]) + "\n"


def lines(row: Row, targets: bool = True) -> list[str]:
    """The lines of a row: what is to reach its target, and what it is set beside."""
    if "left_out" in row:
        return [f"| {row['name']} | not measured: {row['left_out']} | | | | |"]
    told = lines_of_ratios if "ratios" in row else lines_of_images if "images" in row else lines_of_updates
    return [
        f"| {line.name} | {line.measured} | {line.beside} | {line.ratio} | {line.to_reach if targets else ''} "
        f"| {line.verdict if targets else ''} |"
        for line in told(row)
    ]


@dataclass(frozen=True)
class Line:
    """One line of the table. The target is reached where `value` is at most `target`, or at least where `more`."""

    name: str
    measured: str
    value: float
    target: float | None
    unit: str = ""
    more: bool = False
    beside: str = ""
    ratio: str = ""

    @property
    def to_reach(self) -> str:
        """The target in words."""
        return "" if self.target is None else f"{'at least' if self.more else 'at most'} {self.target:g}{self.unit}"

    @property
    def verdict(self) -> str:
        """Whether it was reached."""
        if self.target is None:
            return ""
        reached = self.value >= self.target if self.more else self.value <= self.target
        return "reached" if reached else "**not reached**"


def lines_of_updates(row: Row) -> list[Line]:
    """What an update takes, and with real data a whole run."""
    seconds = {way: [1e3 * each for each in times] for way, times in row["seconds"].items()}
    way = CAPTURED if CAPTURED in seconds else EAGER
    name, update = f"{row['name']}, {way}", statistics.median(seconds[way])
    beside = ratio = ""
    if way != EAGER:
        beside = f"{EAGER} {spread(seconds[EAGER])}"
        ratio = spread([eager / own for eager, own in zip(seconds[EAGER], seconds[way], strict=True)])
    found = [Line(f"{name}: an update, ms", spread(seconds[way]), update, row["target"], " ms", False, beside, ratio)]
    if "minutes" in row:
        whole = whole_run(row, way)
        words = f"{whole:.1f} ({row['evaluation'][way]:.2f} s an evaluation)"
        beside = f"{EAGER} {whole_run(row, EAGER):.1f}" if way != EAGER else ""
        name = f"{name}: {row['epochs']} epochs, minutes"
        found.append(Line(name, words, whole, row["minutes"], " min", False, beside))
    return found


def lines_of_images(row: Row) -> list[Line]:
    """Images a second of each way beside the plain loop's."""
    plain, found = row["images"][PLAIN], []
    for way, images in row["images"].items():
        if way != PLAIN:
            ratios = [own / other for own, other in zip(images, plain, strict=True)]
            beside, name = f"{PLAIN} {spread(plain, 0)}", f"{row['name']}, {way}: images a second"
            ratio = statistics.median(ratios)
            found.append(Line(name, spread(images, 0), ratio, row["target"], " of it", True, beside, spread(ratios)))
    return found


def lines_of_ratios(row: Row) -> list[Line]:
    """What a step takes, as ratios to the reference."""
    return [
        Line(
            f"{row['name']}, {way}",
            "",
            statistics.median(found),
            row["targets"].get(way),
            " of it",
            False,
            row["reference"],
            spread(found),
        )
        for way, found in row["ratios"].items()
    ]


def whole_run(row: Row, way: str) -> float:
    """Minutes of a whole run: its updates, and an evaluation an epoch."""
    updates = row["updates"] * statistics.median(row["seconds"][way])
    return (updates + row["epochs"] * row["evaluation"][way]) / 60


def spread(values: list[float], digits: int = 2) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def setting(device: torch.device) -> str:
    """Hardware and versions in one line."""
    versions = f"torch {torch.__version__}, timm {version('timm')}, Python {platform.python_version()}"
    if device.type == "cpu":
        return f"{provenance.cpu_name()}, 1 thread, {versions}"
    hardware = f"{torch.cuda.get_device_name(device)}, driver {driver()}, {cores()} cores of {provenance.cpu_name()}"
    return f"{hardware}, CUDA {torch.version.cuda}, Triton {version('triton')}, {versions}"


def driver() -> str:
    """The version of the GPU's driver."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
