"""One global batch, split over ranks and micro-batches."""

from __future__ import annotations

from experiments.schema.config import RunConfig
from experiments.schema.epochs import samples_per_epoch
from experiments.schema.origin import origin


def unit(config: RunConfig) -> int:
    """Samples that nothing may separate: 2 where mixup or cutmix mix a sample with its partner, else 1; also 1 where
    images lie on the device, and whoever needs a partner makes it.

    The same condition as `experiments.data.batch_augmentation.mixes`, whatever `mixup_probability`: timm's mixup
    refuses an odd batch before it draws.
    """
    mixes = config.augmentation.mixup > 0 or config.augmentation.cutmix > 0
    return 2 if mixes and config.augmentation.pipeline == "images" else 1


def largest_part(samples: int, at_most: int, unit: int) -> int:
    """The largest divisor of `samples` that is a multiple of `unit` and at most `at_most`; `unit` where none is."""
    return max((size for size in range(unit, at_most + 1, unit) if samples % size == 0), default=unit)


def micro_batch(config: RunConfig, ranks: int) -> int:
    """Samples of one forward pass on one rank.

    As asked for by `launch.micro_batch`, else the largest divisor of the rank's share, in whole units, that is at
    most the recipe's batch per device.
    """
    if config.launch.micro_batch:
        return config.launch.micro_batch
    share = max(1, config.global_batch_size // ranks)
    return largest_part(share, min(config.batch_per_device, share), unit(config))


def last_batch(config: RunConfig) -> int:
    """Samples of the smaller batch that an epoch ends with; 0 where there is none, or `drop_last` leaves it out."""
    return 0 if config.drop_last else samples_per_epoch(config) % config.global_batch_size


def pieces(samples: int, micro_batch: int, ranks: int) -> int:
    """Into how many micro-batches, over all ranks, an update of so many samples is cut; they differ by one unit."""
    return ranks * max(1, -(-samples // (micro_batch * ranks)))


def key_of_batch(config: RunConfig, wanted: int) -> tuple[str, int]:
    """The key that decided the global batch, with its value and where that came from, and the value of that key for a
    global batch of `wanted`: ("batch_size=256 (configs/exp/vit_small.yaml)", 512)."""
    key, value, near = "global_batch_size", config.global_batch_size, wanted
    if origin(config, key) != "command line":
        key, value = "batch_size", config.batch_size
        near = round(wanted / config.scale_factors["batch_size"])
    return f"{key}={value} ({origin(config, key)})", near


def accumulation(config: RunConfig, ranks: int) -> int:
    """Micro-batches that one rank computes for each update."""
    return config.global_batch_size // (micro_batch(config, ranks) * ranks)
