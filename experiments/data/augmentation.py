"""Augmentation of one image, as timm does it on the CPU: crop, flip, colour jitter or RandAugment.

Images leave as uint8 arrays. As with timm's prefetching loader, which the released runs used, normalising,
mixup and random erasing happen later, on the micro-batch (`batch_augmentation`).
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import Compose

from experiments.data.streams import reseed
from experiments.schema.config import AugmentationConfig, DataConfig, EvaluationConfig
from experiments.schema.errors import UserError


class TrainTransform:
    """timm's training transform up to the uint8 image, seeded for every sample."""

    def __init__(self, augmentation: AugmentationConfig, data: DataConfig) -> None:
        """Raises UserError when timm does not understand the augmentation."""
        try:
            geometry, colour, _ = create_transform(
                data.image_size,
                is_training=True,
                use_prefetcher=True,
                separate=True,
                scale=(augmentation.scale[0], augmentation.scale[1]),
                ratio=(augmentation.ratio[0], augmentation.ratio[1]),
                hflip=augmentation.horizontal_flip,
                color_jitter=augmentation.color_jitter or None,  # type: ignore[arg-type]
                auto_augment=augmentation.auto_augment,
                interpolation=augmentation.interpolation,
                mean=tuple(data.mean),
                std=tuple(data.std),
            )
        except (AssertionError, KeyError, ValueError) as error:
            raise UserError(f"timm does not understand {augmentation}: {type(error).__name__} {error}") from error
        self.steps = [*geometry.transforms, *colour.transforms]

    def __call__(self, image: Image.Image, seed: int) -> np.ndarray:
        """uint8 [size, size] or [size, size, 3]."""
        reseed(seed)
        for step in self.steps:
            image = step(image)
        return np.asarray(image)


class EvaluationTransform:
    """timm's evaluation transform: resize to size / crop_pct and crop the centre, or nothing at all when
    `data.resize` is false (images that already have their size)."""

    def __init__(self, evaluation: EvaluationConfig, data: DataConfig) -> None:
        self.size, self.resize = data.image_size, data.resize
        try:
            steps: Compose = create_transform(
                data.image_size,
                use_prefetcher=True,
                interpolation=evaluation.interpolation,
                crop_pct=evaluation.crop_pct,
                mean=tuple(data.mean),
                std=tuple(data.std),
            )
        except (AssertionError, KeyError, ValueError) as error:
            raise UserError(f"timm does not understand {evaluation}: {type(error).__name__} {error}") from error
        self.steps = steps.transforms[:-1]  # the last one makes a tensor

    def __call__(self, image: Image.Image) -> np.ndarray:
        """uint8 [size, size] or [size, size, 3]. Raises UserError when the image has another size and
        `data.resize` is false."""
        if not self.resize:
            if image.size != (self.size, self.size):
                raise UserError(f"data.resize=false, but an image has size {image.size}, not {self.size} squared")
            return np.asarray(image)
        for step in self.steps:
            image = step(image)
        return np.asarray(image)
