"""One global batch, split over ranks and micro-batches."""

from __future__ import annotations

from experiments.schema.config import RunConfig


def micro_batch(config: RunConfig, ranks: int) -> int:
    """Samples of one forward pass on one rank.

    As asked for by `launch.micro_batch`, else the largest divisor of the rank's share that is at most the recipe's
    batch per device.
    """
    if config.launch.micro_batch:
        return config.launch.micro_batch
    share = max(1, config.global_batch_size // ranks)
    return max(size for size in range(1, min(config.batch_per_device, share) + 1) if share % size == 0)


def accumulation(config: RunConfig, ranks: int) -> int:
    """Micro-batches that one rank computes for each update."""
    return config.global_batch_size // (micro_batch(config, ranks) * ranks)
