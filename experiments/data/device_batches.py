"""Micro-batches of `augmentation.pipeline=batched`: keys are read on the host, everything else is made on the device.

`update` gives what a micro-batch is made from, a few numbers a sample; `made` makes it, by operations on the device
alone, and so within the recording of a captured update.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.data.batch_augmentation import Normalise, mixes
from experiments.data.counter_hash import below, words
from experiments.data.device_images import AugmentedDeviceImages, cut_out
from experiments.data.images import Images
from experiments.data.mixing import Mixing, Mixture, blend, soft_targets
from experiments.data.streams import derive
from experiments.data.updates import UpdateSamples
from experiments.schema.config import AugmentationConfig, DataConfig


class Keys(NamedTuple):
    """A micro-batch before it is made: int64 [n, 3] of (epoch, index of the image, number of the copy), and what each
    sample is mixed with; None where nothing is mixed."""

    samples: Tensor
    mixture: Mixture | None


class DeviceBatches:
    """Of a split on a device; see `AugmentedDeviceImages`, whose errors it raises."""

    def __init__(
        self,
        images: Images,
        augmentation: AugmentationConfig,
        data: DataConfig,
        label_smoothing: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.images = AugmentedDeviceImages(images, augmentation, data, seed, device)
        self.normalise = Normalise(data)
        self.classes, self.label_smoothing = data.num_classes, label_smoothing
        self.cutout, self.stream, self.device = augmentation.cutout, derive(seed, "cutout"), device
        self.mixing = Mixing(augmentation, data.image_size, seed) if mixes(augmentation) else None

    def update(self, samples: UpdateSamples, update: int) -> Iterator[Keys]:
        """What this rank's micro-batches of `update` are made from."""
        for request, groups, partners in zip(
            samples.requests(update), samples.groups(update), samples.partners(update), strict=True
        ):
            mixture = None
            if self.mixing is not None:
                mixture = self.mixing.mixture(update, groups, partners, self.device)
            yield Keys(torch.from_numpy(request).to(self.device, non_blocking=True), mixture)

    def made(self, keys: Keys) -> tuple[Tensor, Tensor]:
        """Images float32 [n, channels, height, width] and targets float32 [n, classes]."""
        pixels, labels = self.images.samples(keys.samples)
        targets = soft_targets(labels, self.classes, self.label_smoothing)
        if keys.mixture is not None:
            partners, other_labels = self.images.samples(keys.mixture.partners)
            pixels = blend(pixels, partners, keys.mixture)
            own, other = keys.mixture.shares[:, :, None].unbind(1)
            targets = targets * own + soft_targets(other_labels, self.classes, self.label_smoothing) * other
        images = self.normalise(pixels)
        if self.cutout:
            row, column = words(self.stream, keys.samples, draws=2)
            cut_out(images, below(images.shape[2], row), below(images.shape[3], column), self.cutout)
        return images, targets
