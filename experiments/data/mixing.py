"""Mixup and cutmix of samples on the run's device; what is mixed with what, and how, is a counter hash of the update.

timm's mode `batch` (timm/data/mixup.py): each group of an update has one choice between mixup and cutmix, one lambda
and one box, and mixes each sample with its mirror image in the group. Whoever computes a sample makes its partner, too:
so any way to cut the update sees the same.

    lambda of mixup  = Beta(alpha, alpha) at a hash of (seed, update, group), by its inverse
    box of cutmix    = sqrt(1 - lambda) of height and width, its centre anywhere, as much of it as lies within

A box of odd size loses a pixel, as in the timm of the released runs (up to 1.0.25 at least; 1.0.31 keeps it). The few
numbers of a group are drawn on the host, in float64, for many updates ahead; the device only reads them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from experiments.data.counter_hash import below, words
from experiments.data.device_images import uploaded
from experiments.data.streams import derive
from experiments.schema.config import AugmentationConfig

AHEAD = 256  # updates whose numbers are drawn, and sent to the device, at once


class Draws(NamedTuple):
    """What groups drew, one row each: `weights` float64 of a sample's own pixels; `boxes` int64 [groups, 4], the first
    row and the one after the last, then columns, that the partner fills; `shares` float64 of a sample's own label."""

    weights: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray


class Drawn(NamedTuple):
    """`Draws` on the device: `weights` and `shares` float32 [groups, 2], of a sample and of its partner; `boxes` int64
    [groups, 4]."""

    weights: Tensor
    boxes: Tensor
    shares: Tensor


class Mixture(NamedTuple):
    """What each of n samples is mixed with, and how: keys of the `partners`, int64 [n, 3], and the row of its group in
    `drawn`, int64 [n]."""

    partners: Tensor
    groups: Tensor
    drawn: Drawn


class Mixing:
    """Draws for images of `side` x `side` pixels from the stream (seed, mixing)."""

    def __init__(self, augmentation: AugmentationConfig, side: int, seed: int, device: torch.device) -> None:
        self.augmentation, self.side, self.device = augmentation, side, device
        self.stream = derive(seed, "mixing")
        self._block: tuple[int, int] | None = None  # of updates, and of how many groups each, that are at hand
        self._drawn: Drawn  # of this block: [AHEAD, groups, ...]

    def drawn(self, update: int, groups: int) -> Drawn:
        """The choices of the first `groups` groups of an update."""
        block, place = divmod(update, AHEAD)
        if self._block != (block, groups):
            self._drawn, self._block = self._ahead(block, groups), (block, groups)
        return Drawn(*(part[place] for part in self._drawn))

    def draw(self, updates: np.ndarray, groups: np.ndarray) -> Draws:
        """The choices of groups of updates, both int64 [n]."""
        drawn = words(self.stream, torch.from_numpy(np.column_stack([updates, groups])), draws=5)
        mixed, switched, quantiles = (drawn[:3].double().numpy() + 0.5) / 2**32
        mixup, cutmix = self.augmentation.mixup, self.augmentation.cutmix
        mixes = mixed < self.augmentation.mixup_probability
        switches = switched < self.augmentation.mixup_switch_probability
        cuts = mixes & (cutmix > 0) & (switches | (mixup <= 0))
        alphas = np.where(cuts, cutmix, mixup if mixup > 0 else 1.0)
        lambdas = np.where(mixes, betaincinv(alphas, alphas, quantiles), 1.0)
        boxes = self._boxes(np.where(cuts, lambdas, 1.0), *below(self.side, drawn[3:]).numpy())
        left_over = 1 - (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / self.side**2
        return Draws(np.where(cuts, 1.0, lambdas), boxes, np.where(cuts, left_over, lambdas))

    def _boxes(self, lambdas: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        half = (self.side * np.sqrt(1 - lambdas)).astype(np.int64) // 2
        edges = np.stack([rows - half, rows + half, columns - half, columns + half], axis=1)
        return edges.clip(0, self.side)

    def _ahead(self, block: int, groups: int) -> Drawn:
        updates, each = np.divmod(np.arange(AHEAD * groups), groups)
        weights, boxes, shares = self.draw(block * AHEAD + updates, each)
        pairs = (np.stack([part, 1 - part], axis=1).astype(np.float32) for part in (weights, shares))
        weights, shares = (pair.reshape(AHEAD, groups, 2) for pair in pairs)
        parts = (weights, boxes.reshape(AHEAD, groups, 4), shares)
        return Drawn(*(uploaded(part, self.device) for part in parts))


def blend(pixels: Tensor, partners: Tensor, weights: Tensor, boxes: Tensor) -> Tensor:
    """uint8 images [n, channels, height, width] and those of their partners, mixed: float32, in whole levels. `weights`
    are [n, 2], `boxes` [n, 4]: see `Drawn`."""
    own, other = weights[:, :, None, None, None].unbind(1)
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    rows, columns = (torch.arange(size, device=pixels.device) for size in pixels.shape[2:])
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    filled = torch.where(inside[:, None], partners, pixels)  # in bytes; where there is a box, `own` is 1
    return filled.float().mul_(own).add_(partners.float().mul_(other)).round_()


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """One label in each row, float32 [n, classes], with `smoothing` spread over all classes."""
    off = smoothing / classes
    spread = torch.full((len(labels), classes), off, device=labels.device)
    return spread.scatter_(1, labels[:, None], 1 - smoothing + off)
