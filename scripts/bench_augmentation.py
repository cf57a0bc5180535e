"""Measure how many small images are augmented in a second on one CPU core: `python scripts/bench_augmentation.py
[--rounds 9] [--output results/benchmarks/augmentation_cpu.md]`.

Four ways from a set in memory to the network's input, in turn, in one process: cropped after padding, flipped and
normalised (1) batched, as `augmentation.pipeline=batched` does it, (2) the same with torchvision's transforms of one
image after another, seeded, stacked and normalised as `augmentation.pipeline=images` does, which (3) itself crops and
resizes with timm's instead; and (4) the first with mixup and cutmix on top. Images are noise: their values cost
nothing. Each round gives every way's images per second; reported are medians and quartiles, also of (1) over (2) and
(3) of the same round. Seconds are those of the process on its core, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import checkout  # noqa: F401
import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, RandomCrop, RandomHorizontalFlip

from experiments.data.augmentation import TrainTransform
from experiments.data.batch_augmentation import BatchAugmentation
from experiments.data.device_batches import DeviceBatches, Keys
from experiments.data.images import ArrayImages
from experiments.data.mixing import Mixing, Mixture
from experiments.data.reading import Reader, TrainReader
from experiments.data.sampler import Share
from experiments.data.streams import reseed
from experiments.record.provenance import cpu_name
from experiments.schema.config import AugmentationConfig, DataConfig

BATCHED, ONE_BY_ONE, RESIZED = "batched", "one by one, torchvision's crop", "one by one, timm's resized crop"
MIXED = "batched, with mixup and cutmix"
SETS = {"MNIST, 28 x 28 grey": (28, 1, 2), "CIFAR-10, 32 x 32 colour": (32, 3, 4)}  # side, channels, padding
HELD = 10_000  # images in memory
Contender = Callable[[np.ndarray], Tensor]


class TorchvisionTransform:
    """Crop after padding and flip of one image, where the suite's own transform crops and resizes."""

    def __init__(self, augmentation: AugmentationConfig, data: DataConfig) -> None:
        self.transform = Compose(
            [
                RandomCrop(data.image_size, padding=augmentation.padding),
                RandomHorizontalFlip(augmentation.horizontal_flip),
            ]
        )

    def __call__(self, image: Image.Image, seed: int) -> np.ndarray:
        reseed(seed)
        return np.asarray(self.transform(image))


def contenders(side: int, channels: int, padding: int) -> dict[str, Contender]:
    """By name: a function from keys, int64 [n, 3], to float32 [n, channels, side, side]."""
    generator = np.random.default_rng(0)
    shape = (HELD, side, side, 3) if channels == 3 else (HELD, side, side)
    images = ArrayImages(generator.integers(0, 256, shape, dtype=np.uint8), generator.integers(0, 10, HELD))
    data = DataConfig(
        num_classes=10, channels=channels, image_size=side, mean=[0.5] * channels, std=[0.25] * channels, resize=False
    )
    padded, resized = AugmentationConfig(pipeline="batched", padding=padding), AugmentationConfig()
    readers: dict[str, Reader] = {
        ONE_BY_ONE: TrainReader(images, TorchvisionTransform(padded, data), 0),
        RESIZED: TrainReader(images, TrainTransform(resized, data), 0),
    }
    augment = BatchAugmentation(padded, data, 0.0, 0)
    batches = DeviceBatches(images, padded, data, 0.0, 0, torch.device("cpu"))

    def contender(read: Reader) -> Contender:
        return lambda keys: augment(*read(keys), keys, 1, [Share(0, np.arange(len(keys)))])[0]

    mixing = Mixing(AugmentationConfig(mixup=0.2, cutmix=1.0), side, 0, torch.device("cpu"))
    updates = count(1)

    def mixed(keys: np.ndarray) -> Tensor:
        samples = torch.from_numpy(keys)
        mixture = Mixture(samples.flip(0), torch.zeros_like(samples[:, 0]), mixing.drawn(next(updates), groups=1))
        return batches.made(Keys(samples, mixture))[0]

    batched = {BATCHED: lambda keys: batches.made(Keys(torch.from_numpy(keys), None))[0], MIXED: mixed}
    return batched | {name: contender(reader) for name, reader in readers.items()}


def measure(found: dict[str, Contender], batch: int, rounds: int) -> dict[str, list[float]]:
    """Images per second, by contender, one number a round; the order turns each round."""
    order = list(found)
    speeds: dict[str, list[float]] = {name: [] for name in order}
    for index in range(-1, rounds):
        keys = np.stack([np.full(HELD, index + 1), np.random.default_rng(index + 1).permutation(HELD)], axis=1)
        keys = np.column_stack([keys, np.zeros(HELD, dtype=np.int64)])
        turn = index % len(order)
        for name in order[turn:] + order[:turn]:
            batches = HELD // batch if name in (BATCHED, MIXED) else max(1, 1024 // batch)
            begin = time.process_time()
            for start in range(0, batches * batch, batch):
                found[name](keys[start : start + batch])
            seconds = time.process_time() - begin
            if index >= 0:  # the first round warms up
                speeds[name].append(batches * batch / seconds)
    return speeds


def row(name: str, batch: int, speeds: dict[str, list[float]]) -> str:
    cells = []
    for way in (BATCHED, ONE_BY_ONE, RESIZED, MIXED):
        low, median, high = statistics.quantiles(speeds[way], n=4)
        cells.append(f"{median:,.0f} ({low:,.0f} to {high:,.0f})")
    for way in (ONE_BY_ONE, RESIZED):
        ratios = [a / b for a, b in zip(speeds[BATCHED], speeds[way], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        cells.append(f"{median:.1f} ({low:.1f} to {high:.1f})")
    return f"| {name} | {batch} | " + " | ".join(cells) + " |"


def heading(rounds: int) -> list[str]:
    return [
        "# How fast small images are augmented on a CPU",
        "",
        "Images per second of CPU time, one thread, from a set in memory to the network's normalised input; medians "
        f"and quartiles of {rounds} interleaved rounds. The first two ways crop after padding (4 pixels a side, MNIST "
        "2) and flip; the third is what `augmentation.pipeline=images` does instead; the last mixes what the first "
        f"made. {cpu_name()}, {os.cpu_count()} logical CPUs, load {os.getloadavg()[0]:.1f} at the start, "
        f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}.",
        "",
        f"| images | batch | {BATCHED} | {ONE_BY_ONE} | {RESIZED} | {MIXED} | batched / torchvision's | batched / "
        "timm's |",
        "|---|---|---|---|---|---|---|---|",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 512], metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = heading(arguments.rounds)
    print("\n".join(lines), flush=True)
    for name, (side, channels, padding) in SETS.items():
        found = contenders(side, channels, padding)
        for batch in arguments.batches:
            lines.append(row(name, batch, measure(found, batch, arguments.rounds)))
            print(lines[-1], flush=True)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
