"""What `augmentation.pipeline=batched` makes of an image, one image and one draw at a time, in Python's integers."""

from __future__ import annotations

import numpy as np

from experiments.data.streams import derive
from experiments.schema.config import AugmentationConfig


def mix(x: int) -> int:
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def word(stream: int, key: list[int], draw: int) -> int:
    state = stream % 2**32
    for part in key:
        state = mix(state ^ mix((part + 0x9E3779B9) % 2**32))
    return mix((state + draw * 0x9E3779B9) % 2**32)


def cropped(pixels: np.ndarray, key: list[int], seed: int, augmentation: AugmentationConfig) -> np.ndarray:
    """One image, cropped after padding and flipped: uint8 [channels, side, side]."""
    side, padding = pixels.shape[1], augmentation.padding
    row, column, flip = (word(derive(seed, "crop and flip"), key, draw) for draw in (1, 2, 3))
    widths = [(padding, padding), (padding, padding), (0, 0)]
    image = pixels[key[1]].reshape(side, side, -1)
    image = np.pad(image, widths, {"zeros": "constant"}.get(augmentation.padding_mode, augmentation.padding_mode))
    top, left = (drawn * (2 * padding + 1) // 2**32 for drawn in (row, column))
    image = image[top : top + side, left : left + side]
    if flip < augmentation.horizontal_flip * 2**32:
        image = image[:, ::-1]
    return image.transpose(2, 0, 1)


def cut_out(image: np.ndarray, key: list[int], seed: int, side: int) -> None:
    """Set what lies in a square of `side` pixels to zero."""
    size, half = image.shape[1], side // 2
    y, x = (word(derive(seed, "cutout"), key, draw) * size // 2**32 for draw in (1, 2))
    for i in range(y - half, y - half + side):
        for j in range(x - half, x - half + side):
            if 0 <= i < size and 0 <= j < size:
                image[:, i, j] = 0
