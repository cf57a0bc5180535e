"""The samples of every update, and the part of them that one rank computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from experiments.data.sampler import Share, deal, epoch_order


@dataclass
class UpdateSamples:
    """A pure function of (seed, update), with the order of two epochs at hand, for workers read ahead.

    Updates count from 1. `size` is the training set's, `samples` how many an epoch draws, `batch_size` the global
    batch. The last update of an epoch is smaller when `updates_per_epoch` counts one that is.
    """

    seed: int
    size: int
    samples: int
    repeats: int
    updates_per_epoch: int
    batch_size: int
    batch_per_device: int
    micro_batch: int
    rank: int
    world_size: int
    paired: bool
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def count(self, update: int) -> int:
        """Samples of the whole update, over all ranks."""
        return min(self.batch_size, self.samples - self._start(update))

    def shares(self, update: int) -> tuple[tuple[Share, ...], ...]:
        """This rank's micro-batches as shares of groups. Raises UserError when the update cannot be dealt."""
        return deal(
            self.count(update), self.batch_per_device, self.micro_batch, self.rank, self.world_size, self.paired
        )

    def requests(self, update: int) -> list[np.ndarray]:
        """This rank's micro-batches as samples: int64 [n, 3] of (epoch, index of the image, number of the copy)."""
        return [self._keys(update, rows) for rows in self._positions(update)]

    def groups(self, update: int) -> list[np.ndarray]:
        """The group of each sample of `requests`: int64 [n]."""
        return [rows % self._count_of_groups(update) for rows in self._positions(update)]

    def partners(self, update: int) -> list[np.ndarray]:
        """The samples that mixup and cutmix mix those of `requests` with, each its mirror image in its group: sample i
        of n its sample n - 1 - i. Int64 [n, 3] like those."""
        size, groups = self.count(update), self._count_of_groups(update)
        mirrored = []
        for rows in self._positions(update):
            group, place = rows % groups, rows // groups
            last = (size - 1 - group) // groups
            mirrored.append(self._keys(update, group + (last - place) * groups))
        return mirrored

    @property
    def most_groups(self) -> int:
        """Groups of a whole global batch: what is left of an epoch has no more."""
        return max(1, -(-self.batch_size // self.batch_per_device))

    def _positions(self, update: int) -> list[np.ndarray]:
        return [np.concatenate([share.positions for share in shares]) for shares in self.shares(update)]

    def _count_of_groups(self, update: int) -> int:
        return max(1, -(-self.count(update) // self.batch_per_device))  # as `deal` counts them

    def _keys(self, update: int, positions: np.ndarray) -> np.ndarray:
        epoch, start = (update - 1) // self.updates_per_epoch, self._start(update)
        rows = self._epoch(epoch)[start : start + self.count(update)][positions]
        return np.column_stack([np.full(len(rows), epoch), rows])

    def _start(self, update: int) -> int:
        return (update - 1) % self.updates_per_epoch * self.batch_size

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            while len(self._orders) > 1:
                self._orders.pop(min(self._orders))
            self._orders[epoch] = epoch_order(self.seed, epoch, self.size, self.repeats)
        return self._orders[epoch]
