"""Batches of `augmentation.pipeline=batched`: keys are read on the host, everything else is made on the device.

`update` gives what a micro-batch is made from, a few numbers a sample; `made` makes it, by operations on the device
alone, and so within the recording of a captured update. Keys of held-out images are sent once for all evaluations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.data.batch_augmentation import Normalise, mixes
from experiments.data.counter_hash import below, words
from experiments.data.device_images import AugmentedDeviceImages, DeviceImages, cut_out, uploaded
from experiments.data.images import Images
from experiments.data.mixing import Mixing, Mixture, blend, soft_targets
from experiments.data.reading import Pixels
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
        self.mixing = Mixing(augmentation, data.image_size, seed, device) if mixes(augmentation) else None

    def update(self, samples: UpdateSamples, update: int) -> Iterator[Keys]:
        """What this rank's micro-batches of `update` are made from. Never waits for the device."""
        if self.mixing is None:
            for request in samples.requests(update):
                yield Keys(uploaded(request, self.device), None)
            return
        drawn = self.mixing.drawn(update, samples.most_groups)
        for parts in zip(samples.requests(update), samples.partners(update), samples.groups(update), strict=True):
            own, partners, groups = uploaded(np.column_stack(parts), self.device).split([3, 3, 1], dim=1)
            yield Keys(own, Mixture(partners, groups.squeeze(1), drawn))

    def made(self, keys: Keys) -> tuple[Tensor, Tensor]:
        """Images float32 [n, channels, height, width] and targets float32 [n, classes]."""
        pixels, labels = self.images.samples(keys.samples)
        targets = soft_targets(labels, self.classes, self.label_smoothing)
        if keys.mixture is not None:
            partners, other_labels = self.images.samples(keys.mixture.partners)
            weights, boxes, shares = (part.index_select(0, keys.mixture.groups) for part in keys.mixture.drawn)
            pixels = blend(pixels, partners, weights, boxes)
            own, other = shares[:, :, None].unbind(1)
            targets = targets * own + soft_targets(other_labels, self.classes, self.label_smoothing) * other
        images = self.normalise(pixels)
        if self.cutout:
            row, column = words(self.stream, keys.samples, draws=2)
            cut_out(images, below(images.shape[2], row), below(images.shape[3], column), self.cutout)
        return images, targets


class HeldOutKeys(NamedTuple):
    """A batch of held-out images before it is made: int64 [n], and of each augmented copy of them int64 [n, 3]."""

    images: Tensor
    copies: tuple[Tensor, ...]


class DeviceHeldOut:
    """A held-out split on a device: the images as they are, and `copies` of each, augmented as in training, the same at
    every evaluation. Raises UserError like `DeviceImages`."""

    def __init__(
        self,
        images: Images,
        augmentation: AugmentationConfig,
        data: DataConfig,
        copies: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.images, self.copies, self.device = DeviceImages(images, data, device), copies, device
        self._batches: list[HeldOutKeys] = []
        self.augmented: AugmentedDeviceImages | None = None
        if copies:
            self.augmented = AugmentedDeviceImages(images, augmentation, data, seed, device, purpose="augmented copies")

    def batches(self, requests: Sequence[np.ndarray]) -> list[HeldOutKeys]:
        """What the batches of an evaluation are made from: indices, int64 [n] each, the same every time."""
        if not self._batches:
            self._batches = [self._keys(request) for request in requests]
        return self._batches

    def _keys(self, request: np.ndarray) -> HeldOutKeys:
        columns = [np.zeros_like(request), request]
        copies = [np.column_stack([*columns, np.full_like(request, copy)]) for copy in range(self.copies)]
        return HeldOutKeys(uploaded(request, self.device), tuple(uploaded(copy, self.device) for copy in copies))

    def made(self, keys: HeldOutKeys) -> Pixels:
        """The images as they are, and their labels."""
        return self.images.samples(keys.images)

    def made_copies(self, keys: HeldOutKeys) -> Iterator[Tensor]:
        """The images' augmented copies, one after another: uint8 [n, channels, height, width]."""
        for copy in keys.copies:
            assert self.augmented is not None
            yield self.augmented.samples(copy)[0]
