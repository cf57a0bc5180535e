"""Labelled images, in memory, in files or in a Hugging Face table: what every data set is made of."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.schema.errors import DataError, UserError

Buffer = bytes | memoryview
VALIDATION_SEED = 0  # the validation split belongs to the data set, not to the run

# Pillow warns of images of more than 89 megapixels and refuses those of twice as many: what can be read is read.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Whatever goes wrong within, as a DataError that names what was read. Pillow's decoders raise a dozen kinds of
    errors for damaged files (SyntaxError, ValueError, struct.error, zlib.error, ...), few of them an OSError."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"cannot read {what}: its bytes are no image that Pillow knows") from error
    except Exception as error:
        kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        raise DataError(f"cannot read {what}: {kind}{' '.join(str(error).split())}") from error


class Images(Protocol):
    """A split of a data set."""

    @property
    def labels(self) -> np.ndarray:
        """int64 [n]."""

    @property
    def covers(self) -> str:
        """Say what of the split its `content`, and so the manifest's digest, covers."""

    def __len__(self) -> int: ...

    def describe(self, index: int) -> str:
        """One image in words, for messages: its file or its row."""

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of one image, from its header where it is encoded. Raises DataError like `image`."""

    def image(self, index: int) -> Image.Image:
        """One image, mode `L` or `RGB`. Raises DataError, naming it, when it cannot be read."""

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

    def describe(self, index: int) -> str:
        return f"image {index}"

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.pixels.shape[1:3]
        return width, height

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

    def describe(self, index: int) -> str:
        return f"the image {self._path(index)}"

    def size(self, index: int) -> tuple[int, int]:
        with naming(self.describe(index)), Image.open(self._path(index)) as image:
            return image.size

    def image(self, index: int) -> Image.Image:
        with naming(self.describe(index)), Image.open(self._path(index)) as image:
            return image.convert(self.mode)

    def content(self) -> Iterator[Buffer]:
        for path in self.paths:
            yield b"%s %d\n" % (path, (self.folder / os.fsdecode(path)).stat().st_size)

    def _path(self, index: int) -> Path:
        return self.folder / os.fsdecode(self.paths[index])


@dataclass(frozen=True, eq=False)
class TableImages:
    """Rows of a Hugging Face `datasets` table, decoded when asked for. `where` says which split of what it is."""

    rows: Any
    column: str
    labels: np.ndarray
    mode: str = "RGB"
    where: str = "the table"
    covers = "labels in order"

    def __len__(self) -> int:
        return len(self.labels)

    def describe(self, index: int) -> str:
        return f"the image in row {index} (from 0) of {self.where}"

    def size(self, index: int) -> tuple[int, int]:
        with naming(self.describe(index)):
            encoded = self._present(self._encoded[int(index)][self.column])
            content = encoded["bytes"]
            with Image.open(encoded["path"] if content is None else io.BytesIO(content)) as image:
                return image.size

    def image(self, index: int) -> Image.Image:
        with naming(self.describe(index)):
            return self._present(self.rows[int(index)][self.column]).convert(self.mode)

    def content(self) -> Iterator[Buffer]:
        yield self.labels.astype("<i8").data

    @cached_property
    def _encoded(self) -> Any:
        """The rows with images as files or their bytes."""
        import datasets

        return self.rows.cast_column(self.column, datasets.Image(decode=False))

    @staticmethod
    def _present(image: Any) -> Any:
        if image is None:
            raise ValueError("the row has no image")
        return image


@dataclass(frozen=True, eq=False)
class Subset:
    """Those images of `whole` that stand in its places `rows` (int64 [n])."""

    whole: Images
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> np.ndarray:
        return self.whole.labels[self.rows]

    @property
    def covers(self) -> str:
        return f"{self.whole.covers} of all training images, and which of them these are"

    def describe(self, index: int) -> str:
        return self.whole.describe(self.rows[index])

    def size(self, index: int) -> tuple[int, int]:
        return self.whole.size(self.rows[index])

    def image(self, index: int) -> Image.Image:
        return self.whole.image(self.rows[index])

    def content(self) -> Iterator[Buffer]:
        yield self.rows.astype("<i8").data
        yield from self.whole.content()


def subset(images: Images, rows: np.ndarray) -> Images:
    """The images in the places `rows`; those in memory are copied, so that they are still an array."""
    if isinstance(images, ArrayImages):
        return ArrayImages(images.pixels[rows], images.labels[rows])
    return Subset(images, rows)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A training and a held-out split, `test` unless it is called otherwise (`held_out`). `source` says in words where
    the bytes came from."""

    name: str
    source: str
    num_classes: int
    train: Images
    test: Images
    held_out: str = field(default="test", kw_only=True)

    def validating(self, size: int) -> DataSet:
        """Hold `size` training images out instead of the test images, which nothing reads then.

        Which ones is drawn once, not from the run's seed, by their places in the source's order (image folders are
        sorted by class): runs of one data set validate on the same images.
        """
        drawn = np.random.RandomState(VALIDATION_SEED).permutation(len(self.train))
        held_out, rest = (subset(self.train, np.sort(rows)) for rows in (drawn[:size], drawn[size:]))
        return replace(self, train=rest, test=held_out, held_out="validation")

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
            self.held_out: self._facts(self.test),
            "digest": digest.hexdigest(),
            "digest_covers": self.train.covers,
        }

    def _facts(self, split: Images) -> dict[str, Any]:
        histogram = np.bincount(split.labels, minlength=self.num_classes).tolist()
        return {"count": len(split), "labels": histogram}
