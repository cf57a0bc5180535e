"""Truncated backpropagation through time with pieces of random length, as AWD-LSTM cuts a text.

Merity et al. 2017 (arXiv 1708.02182, section 5); the code that AdaBelief's runs used does the same (main.py, `train`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from experiments.schema.config import RunConfig
from experiments.schema.seeds import derive
from experiments.schema.task_sections import BPTTConfig

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Pieces:
    """One epoch: `ends` int64 [updates], the targets of a column up to the end of each piece, and `drawn` [updates],
    the lengths as drawn, before the last was cut at the end of the text. The rate follows `drawn`."""

    ends: np.ndarray
    drawn: np.ndarray


def targets_per_epoch(config: RunConfig) -> int:
    """Targets in one of the `global_batch_size` columns that the training text is cut into; what does not fill all
    columns is left out, and the first token of a column is no target."""
    return config.data.train_size // config.global_batch_size - 1


def pieces(config: RunConfig, epoch: int) -> Pieces:
    """The pieces of `epoch`: a pure function of the seed and the epoch."""
    return _pieces(_key(config.bptt), targets_per_epoch(config), config.seed, epoch)


def rate_factor(config: RunConfig, epoch: int, position: int) -> float:
    """Return the factor of the rate of update `position` of `epoch`: its piece's length over the nominal one."""
    if not (config.bptt.length and config.bptt.scale_rate):
        return 1.0
    return float(pieces(config, epoch).drawn[position]) / config.bptt.length


def _key(bptt: BPTTConfig) -> tuple[int, float, float, int]:
    return bptt.length, bptt.half_probability, bptt.deviation, bptt.shortest


@lru_cache(maxsize=512)
def _pieces(key: tuple[int, float, float, int], targets: int, seed: int, epoch: int) -> Pieces:
    import numpy as np

    length, half_probability, deviation, shortest = key
    most = targets // shortest + 1
    # RandomState, because numpy froze its streams for good (NEP 19).
    generator = np.random.RandomState(np.random.MT19937(derive(seed, "bptt", epoch)))
    mean = np.where(generator.random_sample(most) < half_probability, length / 2, length)
    drawn = np.maximum(shortest, (mean + deviation * generator.standard_normal(most)).astype(np.int64))
    ends = np.cumsum(drawn)
    count = int(np.searchsorted(ends, targets)) + 1
    if count > 1 and ends[count - 2] == targets - 1:  # of one target no slowness can be measured: the piece before
        count -= 1
    ends = ends[:count].copy()
    ends[-1] = targets
    return Pieces(ends, drawn[:count])
