"""Labelled images, in memory, in files or in a Hugging Face table: what every data set is made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from experiments.schema.errors import DataError

Buffer = bytes | memoryview


class Images(Protocol):
    """A split of a data set."""

    @property
    def labels(self) -> np.ndarray:
        """int64 [n]."""

    @property
    def covers(self) -> str:
        """What of the split its `content`, and so the manifest's digest, covers."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """One image, mode `L` or `RGB`."""

    def content(self) -> Iterator[Buffer]:
        """Bytes in a fixed order that identify the split."""


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images of one size in memory: `pixels` uint8 [n, height, width] (grey) or [n, height, width, 3]."""

    pixels: np.ndarray
    labels: np.ndarray
    covers = "pixels and labels"

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def content(self) -> Iterator[Buffer]:
        yield np.ascontiguousarray(self.pixels).data
        yield self.labels.astype("<i8").data


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files under `folder`. `paths` are relative, as bytes [n]: a million of them stay a compact array
    that forked workers share."""

    folder: Path
    paths: np.ndarray
    labels: np.ndarray
    mode: str = "RGB"
    covers = "relative paths and file sizes"

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        """Raises DataError when the file cannot be read as an image."""
        path = self.folder / os.fsdecode(self.paths[index])
        try:
            with Image.open(path) as image:
                return image.convert(self.mode)
        except OSError as error:
            raise DataError(f"cannot read the image {path}: {error}") from error

    def content(self) -> Iterator[Buffer]:
        for path in self.paths:
            yield b"%s %d\n" % (path, (self.folder / os.fsdecode(path)).stat().st_size)


@dataclass(frozen=True, eq=False)
class TableImages:
    """Rows of a Hugging Face `datasets` table, decoded when asked for."""

    rows: Any
    column: str
    labels: np.ndarray
    mode: str = "RGB"
    covers = "labels in order"

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        return self.rows[int(index)][self.column].convert(self.mode)

    def content(self) -> Iterator[Buffer]:
        yield self.labels.astype("<i8").data


@dataclass(frozen=True, eq=False)
class DataSet:
    """A training and a held-out split. `source` says in words where the bytes came from."""

    name: str
    source: str
    num_classes: int
    train: Images
    test: Images

    def manifest(self) -> dict[str, Any]:
        """Identity of the data for the record: source, counts, label histograms and a digest.

        The digest covers every byte of data sets that live in memory. Of an image folder it covers the sorted
        relative paths and file sizes, of a table the labels: reading all of ImageNet takes too long.
        """
        digest = sha256()
        for split in (self.train, self.test):
            digest.update(b"%d\n" % len(split))
            for content in split.content():
                digest.update(content)
        return {
            "name": self.name,
            "source": self.source,
            "train": self._facts(self.train),
            "test": self._facts(self.test),
            "digest": digest.hexdigest(),
            "digest_covers": self.train.covers,
        }

    def _facts(self, split: Images) -> dict[str, Any]:
        histogram = np.bincount(split.labels, minlength=self.num_classes).tolist()
        return {"count": len(split), "labels": histogram}
