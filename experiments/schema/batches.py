"""One global batch, split over ranks and micro-batches."""

from __future__ import annotations

from experiments.schema.config import RunConfig


def unit(config: RunConfig) -> int:
    """Samples that nothing may separate: 2 where mixup or cutmix mix a sample with its partner, else 1.

    The same condition as `experiments.data.batch_augmentation.mixes`, whatever `mixup_probability`: timm's mixup
    refuses an odd batch before it draws.
    """
    return 2 if config.augmentation.mixup > 0 or config.augmentation.cutmix > 0 else 1


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


def accumulation(config: RunConfig, ranks: int) -> int:
    """Micro-batches that one rank computes for each update."""
    return config.global_batch_size // (micro_batch(config, ranks) * ranks)
