"""Augmentation of a micro-batch of images from the host, on its device: mixup or cutmix, normalisation, random erasing.

The order, and the rounding of mixed pixels to whole levels, are those of timm's prefetching loader
(timm/data/mixup.py FastCollateMixup, timm/data/loader.py PrefetchLoader), which the released runs used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from timm.data import Mixup
from timm.data.mixup import mixup_target
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from experiments.data.sampler import Share
from experiments.data.streams import derive, reseed
from experiments.schema.config import AugmentationConfig, DataConfig


def mixes(augmentation: AugmentationConfig) -> bool:
    """Whether mixup or cutmix is on: then samples come in pairs."""
    return augmentation.mixup > 0 or augmentation.cutmix > 0


class Normalise:
    """uint8 or float images in 0..255, [n, channels, height, width], to float32 with the set's mean and std."""

    def __init__(self, data: DataConfig) -> None:
        self.mean = torch.tensor(data.mean).view(1, -1, 1, 1) * 255
        self.std = torch.tensor(data.std).view(1, -1, 1, 1) * 255

    def __call__(self, pixels: Tensor) -> Tensor:
        self.mean, self.std = self.mean.to(pixels.device), self.std.to(pixels.device)  # copied by the first call only
        return pixels.to(torch.float32, copy=True).sub_(self.mean).div_(self.std)


class BatchAugmentation:
    """Soft targets and network inputs of a micro-batch, the same for every way to cut the update.

    Each group of the update has one stream, from (seed, update, group), for timm's batch-wise choice between
    mixup and cutmix, its lambda and box; every share of the group draws from a fresh copy of it.
    """

    def __init__(self, augmentation: AugmentationConfig, data: DataConfig, label_smoothing: float, seed: int) -> None:
        self.seed, self.num_classes, self.label_smoothing = seed, data.num_classes, label_smoothing
        self.normalise = Normalise(data)
        self.erasing, self.erasing_mode = augmentation.random_erasing, augmentation.random_erasing_mode
        self.mixup = None
        if mixes(augmentation):
            self.mixup = Mixup(
                mixup_alpha=augmentation.mixup,
                cutmix_alpha=augmentation.cutmix,
                prob=augmentation.mixup_probability,
                switch_prob=augmentation.mixup_switch_probability,
                label_smoothing=label_smoothing,
                num_classes=data.num_classes,
            )

    def __call__(
        self, pixels: Tensor, labels: Tensor, keys: np.ndarray, update: int, shares: Sequence[Share]
    ) -> tuple[Tensor, Tensor]:
        """Return images float32 [n, channels, height, width] and targets float32 [n, classes].

        `pixels` are uint8, `labels` int64 [n], `keys` int64 [n, 3] (epoch, index, copy), all in the order of the
        concatenated `shares`.
        """
        if self.mixup is None:
            images, targets = pixels, mixup_target(labels, self.num_classes, 1.0, self.label_smoothing)
        else:
            images, targets = self._mix(self.mixup, pixels, labels, update, shares)
        images = self.normalise(images)
        if self.erasing:
            self._erase(images, keys)
        return images, targets

    def _mix(
        self, mixup: Mixup, pixels: Tensor, labels: Tensor, update: int, shares: Sequence[Share]
    ) -> tuple[Tensor, Tensor]:
        images, targets = pixels.float(), []
        start = 0
        for share in shares:
            part = slice(start, start + len(share.positions))
            np.random.seed(derive(self.seed, "mixup", update, share.group) & 0xFFFFFFFF)
            mixed, target = mixup(images[part], labels[part])
            images[part] = mixed.round_()
            targets.append(target)
            start = part.stop
        return images, torch.cat(targets)

    def _erase(self, images: Tensor, keys: np.ndarray) -> None:
        """timm's RandomErasing on the mixed, normalised batch; every sample draws from its own stream."""
        erase = RandomErasing(self.erasing, mode=self.erasing_mode, device=images.device)
        for image, key in zip(images, keys.tolist(), strict=True):
            reseed(derive(self.seed, "erasing", *key), images.device)
            erase(image)
