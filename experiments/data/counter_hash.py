"""Random numbers without a generator: a hash of what each is for, in whole numbers, so every device draws the same.

A sample's numbers depend on its own keys alone. Whatever batch, rank or micro-batch it comes in, and whatever came
before, it gets the same, and nothing has to be saved for a resume.

    state       = stream
    state       = mix(state ^ mix(key + 0x9e3779b9))     for each key in turn, all in 32 bits
    word(draw)  = mix(state + draw * 0x9e3779b9)         draw = 1, 2, ...

`mix` is the 32-bit hash `lowbias32` (github.com/skeeto/hash-prospector), which `adan.rounding` uses, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
STEP = 0x9E3779B9


def words(stream: int, keys: Tensor, draws: int) -> Tensor:
    """`draws` words for each row of `keys` (int64 [n, k], of 0 to 2^32 - 1): int64 [draws, n], of 0 to 2^32 - 1.

    `stream` says whose numbers they are; 32 bits of it count.
    """
    state = torch.full_like(keys[:, 0], stream & MASK)
    for column in keys.unbind(1):
        state = _mix(state ^ _mix(column + STEP & MASK))
    numbers = torch.arange(1, draws + 1, device=keys.device)
    return _mix(state + numbers[:, None] * STEP & MASK)


def below(bound: int, words: Tensor) -> Tensor:
    """Whole numbers from 0 to `bound` - 1, each as likely as the others to one part in 2^32 / `bound`."""
    return words * bound >> 32


def happens(probability: float, words: Tensor) -> Tensor:
    """True with this probability, to the nearest 2^-32."""
    return words < round(probability * 2**32)


def _mix(x: Tensor) -> Tensor:
    """The hash of 32-bit values held in int64."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & MASK
    return x ^ (x >> 16)
