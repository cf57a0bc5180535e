"""Batches of equal size over pass after pass of a training set: a pure function of (seed, update)."""

from __future__ import annotations

import numpy as np

from experiments.data.sampler import epoch_order


class Passes:
    """Each pass holds every sample once, in an order of its own; a batch may hold the end of one and the beginning
    of the next, so that budgets can count updates whatever the size of the set."""

    def __init__(self, seed: int, size: int, batch_size: int) -> None:
        self.seed, self.size, self.batch_size = seed, size, batch_size
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, update: int) -> np.ndarray:
        """Indices of the samples of `update`, counted from 1: int64 [batch_size]."""
        places = np.arange((update - 1) * self.batch_size, update * self.batch_size)
        rows = np.empty(self.batch_size, dtype=np.int64)
        for number in np.unique(places // self.size).tolist():
            inside = places // self.size == number
            rows[inside] = self._order(number)[places[inside] % self.size]
        return rows

    def _order(self, number: int) -> np.ndarray:
        if number not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key >= number - 1}
            self._orders[number] = epoch_order(self.seed, number, self.size)[:, 0]
        return self._orders[number]


def share(batch: np.ndarray, rank: int, world_size: int, micro_batch: int) -> list[np.ndarray]:
    """The micro-batches of one rank: consecutive pieces of the batch, all of one size as `check` sees to."""
    mine = np.array_split(batch, world_size)[rank]
    return [mine[start : start + micro_batch] for start in range(0, len(mine), micro_batch)]
