"""Random streams: every random choice of a run is a function of (seed, purpose, indices).

Libraries draw from global generators, so whoever needs chance calls `reseed` first and nobody relies on the state
that another left behind. (Saving and restoring it instead costs ten times as much as seeding.)
"""

from __future__ import annotations

import random

import numpy as np
import torch

from experiments.schema.seeds import derive

__all__ = ["derive", "reseed"]


def reseed(value: int, device: torch.device | None = None) -> None:
    """Seed the global generators of python, numpy and torch, the latter for the CPU and for `device`.

    `torch.manual_seed` visits every backend and takes a tenth of a millisecond: too much for each sample.
    """
    random.seed(value)
    np.random.seed(value & 0xFFFFFFFF)
    torch.default_generator.manual_seed(value)
    if device is not None and device.type == "cuda":
        torch.cuda.init()
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(value)
