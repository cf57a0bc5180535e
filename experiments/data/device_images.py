"""Images of a whole split as one uint8 tensor on the run's device, cropped and flipped there a batch at a time.

Which crop a sample gets is a hash of (seed, epoch, index of the image, number of the copy), see `counter_hash`: the
same pixels on every device, and for every way to cut an update into micro-batches.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from experiments.data.counter_hash import below, happens, words
from experiments.data.images import ArrayImages, Images
from experiments.data.reading import Pixels, stack
from experiments.data.streams import derive
from experiments.schema.config import AugmentationConfig, DataConfig
from experiments.schema.errors import UserError

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "symmetric": "symmetric"}  # in numpy's words


class DeviceImages:
    """A split on a device."""

    def __init__(self, images: Images, data: DataConfig, device: torch.device) -> None:
        """Decode what is not in memory yet. Raises UserError when an image cannot be read or has another size than
        `data.image_size`."""
        self.pixels = stack(np.array(_array(images, data.image_size))).to(device)  # a copy: some arrays are read-only
        self.labels = torch.from_numpy(images.labels).to(device)

    def samples(self, index: Tensor) -> Pixels:
        """The images of `index`, int64 [n] on the device. Never waits for it."""
        return self.pixels.index_select(0, index), self.labels[index]


class AugmentedDeviceImages:
    """A split on a device, padded once; samples are cropped to their size and flipped."""

    def __init__(
        self,
        images: Images,
        augmentation: AugmentationConfig,
        data: DataConfig,
        seed: int,
        device: torch.device,
        purpose: str = "crop and flip",
    ) -> None:
        """Draw from the stream (seed, purpose). Raises UserError like `DeviceImages`."""
        self.side, self.flip = data.image_size, augmentation.horizontal_flip
        self.places = 2 * augmentation.padding + 1  # that a crop may have along each axis
        self.stream = derive(seed, purpose)
        pixels = pad(_array(images, self.side), augmentation.padding, augmentation.padding_mode)
        self.padded = stack(pixels).to(device)
        self.labels = torch.from_numpy(images.labels).to(device)

    def samples(self, keys: Tensor) -> Pixels:
        """The samples of `keys`, int64 [n, 3] on the device: (epoch, index of the image, number of the copy). Never
        waits for the device."""
        index = keys[:, 1]
        row, column, flip = words(self.stream, keys, draws=3)
        cropped = crop(self.padded, index, below(self.places, row), below(self.places, column), self.side)
        return flip_horizontally(cropped, happens(self.flip, flip)), self.labels[index]


def uploaded(numbers: np.ndarray, device: torch.device) -> Tensor:
    """The same numbers on the device, for which the host does not wait."""
    tensor = torch.from_numpy(numbers)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # from other memory the device would copy later than it is asked to
    return tensor.to(device, non_blocking=True)


def pad(pixels: np.ndarray, padding: int, mode: str) -> np.ndarray:
    """Images uint8 [n, height, width, ...] with `padding` pixels more on each of their four sides: `zeros` (black), or
    `reflect` or `symmetric` (mirrored, the edge itself not repeated, or repeated)."""
    widths = [(0, 0), (padding, padding), (padding, padding), *[(0, 0)] * (pixels.ndim - 3)]
    return np.pad(pixels, widths, mode=PADDING_MODES[mode])  # type: ignore[call-overload]


def crop(padded: Tensor, index: Tensor, rows: Tensor, columns: Tensor, side: int) -> Tensor:
    """Squares [n, channels, side, side] of the images `index` of `padded` [all, channels, height, width], the upper
    left corner of each at its row and column (all int64 [n])."""
    count, channels, height, width = padded.shape
    image = channels * height * width
    # Every pixel of the whole split begins a window; overlapping views of one memory cost nothing until they are read.
    last = (count - 1) * image + (height - side) * width + width - side
    windows = padded.as_strided((last + 1, channels, side, side), (1, height * width, width, 1))
    return windows.index_select(0, index * image + rows * width + columns)


def flip_horizontally(images: Tensor, chosen: Tensor) -> Tensor:
    """Images [n, channels, height, width], those `chosen` (bool [n]) mirrored left to right."""
    both = torch.cat((images, images.flip(-1)))
    count = len(images)
    return both.index_select(0, torch.arange(count, device=images.device) + count * chosen)


def cut_out(images: Tensor, rows: Tensor, columns: Tensor, side: int) -> None:
    """Set a square of each of the images [n, channels, height, width] to zero, in place: `side` pixels wide, its
    centre at the image's row and column (int64 [n]), as much of it as lies within (DeVries & Taylor 2017)."""
    height, width = images.shape[2:]
    inside_rows = _within(torch.arange(height, device=images.device), rows - side // 2, side)
    inside_columns = _within(torch.arange(width, device=images.device), columns - side // 2, side)
    images.masked_fill_((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0.0)


def _within(places: Tensor, starts: Tensor, length: int) -> Tensor:
    """Whether each of the places lies in the stretch that begins at each start: bool [starts, places]."""
    return (places >= starts[:, None]) & (places < starts[:, None] + length)


def _array(images: Images, side: int) -> np.ndarray:
    """All images, uint8 [n, side, side] or [n, side, side, 3]. Raises UserError for one of another size."""
    if isinstance(images, ArrayImages):
        _require_side(images.pixels.shape[1:3], side, images, 0)
        return images.pixels
    decoded = []
    for index in range(len(images)):
        pixels = np.asarray(images.image(index))
        _require_side(pixels.shape[:2], side, images, index)
        decoded.append(pixels)
    return np.stack(decoded)


def _require_side(shape: tuple[int, ...], side: int, images: Images, index: int) -> None:
    if tuple(shape) != (side, side):
        raise UserError(
            f"data.image_size={side}, but {images.describe(index)} is {shape[0]} x {shape[1]}, and "
            "augmentation.pipeline=batched resizes none: give augmentation.pipeline=images"
        )
