"""Mixup and cutmix of samples on the run's device; what is mixed with what, and how, is a counter hash of the update.

timm's mode `batch` (timm/data/mixup.py): each group of an update has one choice between mixup and cutmix, one lambda
and one box, and mixes each sample with its mirror image in the group. Whoever computes a sample makes its partner, too:
so any way to cut the update sees the same.

    lambda of mixup  = Beta(alpha, alpha) at a hash of (seed, update, group), by its inverse
    box of cutmix    = sqrt(1 - lambda) of height and width, its centre anywhere, as much of it as lies within

The few numbers of a group are drawn on the host, in float64, ahead of the device, which only reads them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from experiments.data.counter_hash import below, words
from experiments.data.streams import derive
from experiments.schema.config import AugmentationConfig


class Mixture(NamedTuple):
    """What each of n samples is mixed with, and how: keys of the `partners`, int64 [n, 3]; `weights` float32 [n, 2] of
    its own pixels and its partner's; `box` int64 [n, 4], the first row and the one after the last, then columns, that
    its partner fills; `shares` float32 [n, 2] of both labels."""

    partners: Tensor
    weights: Tensor
    box: Tensor
    shares: Tensor


class Drawn(NamedTuple):
    """What a group of an update drew: the weight of a sample's own pixels, the box and the share of its own label."""

    weight: float
    box: tuple[int, int, int, int]
    share: float


NOTHING = Drawn(1.0, (0, 0, 0, 0), 1.0)


class Mixing:
    """Draws for images of `side` x `side` pixels from the stream (seed, mixing)."""

    def __init__(self, augmentation: AugmentationConfig, side: int, seed: int) -> None:
        self.augmentation, self.side = augmentation, side
        self.stream = derive(seed, "mixing")

    def draw(self, update: int, group: int) -> Drawn:
        """The choice of a group of an update."""
        drawn = words(self.stream, torch.tensor([[update, group]]), draws=5)[:, 0]
        mixed, switched, quantile = ((drawn[:3].double() + 0.5) / 2**32).tolist()
        mixup, cutmix = self.augmentation.mixup, self.augmentation.cutmix
        if mixed >= self.augmentation.mixup_probability:
            return NOTHING
        cuts = cutmix > 0 and (mixup <= 0 or switched < self.augmentation.mixup_switch_probability)
        alpha = cutmix if cuts else mixup
        weight = float(betaincinv(alpha, alpha, quantile))
        if not cuts:
            return Drawn(weight, (0, 0, 0, 0), weight)
        half = int(self.side * math.sqrt(1 - weight)) // 2
        row, column = below(self.side, drawn[3:]).tolist()
        top, bottom, left, right = (
            min(max(edge, 0), self.side) for edge in (row - half, row + half, column - half, column + half)
        )
        return Drawn(1.0, (top, bottom, left, right), 1 - (bottom - top) * (right - left) / self.side**2)

    def mixture(self, update: int, groups: np.ndarray, partners: np.ndarray, device: torch.device) -> Mixture:
        """Of samples of the groups int64 [n], which are mixed with those of the keys int64 [n, 3]."""
        present, place = np.unique(groups, return_inverse=True)
        drawn = [self.draw(update, int(group)) for group in present]

        def each(values: list, dtype: type) -> Tensor:
            return torch.from_numpy(np.array(values, dtype=dtype)[place]).to(device, non_blocking=True)

        return Mixture(
            torch.from_numpy(partners).to(device, non_blocking=True),
            each([(one.weight, 1 - one.weight) for one in drawn], np.float32),
            each([one.box for one in drawn], np.int64),
            each([(one.share, 1 - one.share) for one in drawn], np.float32),
        )


def blend(pixels: Tensor, partners: Tensor, mixture: Mixture) -> Tensor:
    """uint8 images [n, channels, height, width] and those of their partners, mixed: float32, in whole levels."""
    own, other = mixture.weights[:, :, None, None, None].unbind(1)
    mixed = pixels.float() * own + partners.float() * other
    top, bottom, left, right = mixture.box[:, :, None].unbind(1)
    rows, columns = (torch.arange(size, device=pixels.device) for size in pixels.shape[2:])
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    return torch.where(inside[:, None], partners.float(), mixed.round_())


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """One label in each row, float32 [n, classes], with `smoothing` spread over all classes."""
    off = smoothing / classes
    spread = torch.full((len(labels), classes), off, device=labels.device)
    return spread.scatter_(1, labels[:, None], 1 - smoothing + off)
