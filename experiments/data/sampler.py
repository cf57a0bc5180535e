"""Which samples an update sees, and who computes them: pure functions of (seed, epoch) and of a few sizes.

The order of an epoch is cut into global batches; a global batch is dealt to *groups*, the devices of the recipe,
each of `batch_per_device` samples. Batch norm and mixup act on groups, so groups belong to the run's identity.
Ranks and micro-batches only decide who computes which part of which group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from experiments.data.streams import derive
from experiments.schema.batches import pieces
from experiments.schema.errors import UserError


def epoch_order(seed: int, epoch: int, size: int, repeats: int = 1) -> np.ndarray:
    """Samples of `epoch` in order: int64 [size, 2], columns (index of the image, number of the copy).

    Without repeats a permutation of the training set. With repeats (three in the recipes) every index of the
    permutation stands `repeats` times in a row, copies 0, 1, 2, so that dealing to groups sends them to different
    devices; the epoch is not longer for it and sees a third of the images, as with timm's RepeatAugSampler. How
    much of the order an epoch uses is `experiments.schema.epochs.samples_per_epoch`.
    """
    repeats = max(1, repeats)
    # RandomState, because numpy froze its streams for good (NEP 19).
    generator = np.random.RandomState(np.random.MT19937(derive(seed, "order", epoch)))
    permutation = generator.permutation(size)
    place = np.arange(size)
    return np.stack([permutation[place // repeats], place % repeats], axis=1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Share:
    """The part of one group that lies in one micro-batch: positions in the global batch, int64 [samples]."""

    group: int
    positions: np.ndarray


@lru_cache(maxsize=4)
def deal(
    size: int, batch_per_device: int, micro_batch: int, rank: int = 0, world_size: int = 1, paired: bool = False
) -> tuple[tuple[Share, ...], ...]:
    """Deal a global batch of `size` samples; return this rank's micro-batches, each a tuple of shares.

    Group g holds positions g, g + groups, g + 2 groups, ... as torch's DistributedSampler deals them. Groups
    stand in a row and are cut into equal micro-batches, rank by rank: with one rank per device and a micro-batch
    as large as a group, rank g computes group g.

    `paired` (for mixup, which mixes sample i of a group with its mirror image, sample n - 1 - i) cuts between
    pairs only and lays a share out so that reversing the share swaps the partners of the group.

    Raises UserError when a rank would get nothing, or when `paired` and a group or the micro-batch is odd.
    """
    groups = max(1, -(-size // batch_per_device))
    members = [np.arange(group, size, groups) for group in range(groups)]
    width = 2 if paired else 1
    if paired and (odd := [len(member) for member in members if len(member) % 2]):
        raise UserError(
            f"mixup and cutmix mix pairs: batch_per_device must be even, but a device gets {odd[0]} samples"
        )
    if paired and micro_batch % 2:
        raise UserError(f"mixup and cutmix mix pairs: launch.micro_batch={micro_batch} must be even")
    units = np.concatenate([_pairs(member) if paired else member[:, None] for member in members])
    group_of = np.repeat(np.arange(groups), [len(member) // width for member in members])
    chunks = pieces(size, micro_batch, world_size)
    if chunks > len(units):
        raise UserError(f"{size} samples (batch_size as run) are too few for {world_size} ranks{' in pairs' * paired}")
    mine = np.array_split(np.arange(len(units)), chunks)[
        rank * chunks // world_size : (rank + 1) * chunks // world_size
    ]
    return tuple(tuple(_shares(units[chunk], group_of[chunk])) for chunk in mine)


def _pairs(member: np.ndarray) -> np.ndarray:
    half = len(member) // 2
    return np.stack([member[:half], member[::-1][:half]], axis=1)


def _shares(units: np.ndarray, group_of: np.ndarray) -> list[Share]:
    shares = []
    for group in np.unique(group_of):
        inside = units[group_of == group]
        mirrored = [inside[:, 0], inside[::-1, 1]] if inside.shape[1] == 2 else [inside[:, 0]]
        shares.append(Share(int(group), np.concatenate(mirrored)))
    return shares
