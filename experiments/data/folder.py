"""Image folders: `root/train/<class>/*.jpg` and `root/val/<class>/*.jpg`, as torchvision and timm read them.

As with torchvision's ImageFolder the images of a class also lie in folders within its own, links are followed, and a
file is an image by its ending, in capitals too. Other than there, what is hidden is no class and no image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import contents
from experiments.data.hidden import is_hidden
from experiments.data.images import DataSet, FileImages
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

HELD_OUT = ("val", "validation", "test")
EXTENSIONS = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


def load(config: DataConfig) -> DataSet:
    """Read the listing of `config.root`. Classes are numbered in sorted order of their folder names.

    Raises UserError when a folder is missing, cannot be read or holds no image, a file is empty, or there is another
    number of classes than `config.num_classes`.
    """
    root = Path(config.root or "")
    held_out = _held_out(root)
    if held_out is None or missing(config):
        raise UserError(missing(config))
    classes = _classes(root / "train")
    if len(classes) != config.num_classes:
        raise UserError(
            f"data.root={root}: train/ holds {len(classes)} class folders, but data.num_classes={config.num_classes}"
        )
    splits = [_split(folder, classes, config) for folder in (root / "train", held_out)]
    return DataSet(config.name, f"image folder {root.name}", config.num_classes, *splits)


def missing(config: DataConfig) -> str | None:
    """Say what of the folder is not there, or return None. Looks at the top two levels only."""
    root = Path(config.root or "")
    if not root.is_dir():
        return f"data.root={root} is not a directory"
    if not (root / "train").is_dir():
        return f"data.root={root} has no folder train/"
    if _held_out(root) is None:
        return f"data.root={root} has no folder {HELD_OUT[0]}/"
    return None


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents."""
    data_set = load(config)
    splits = [(split.folder, split.paths) for split in (data_set.train, data_set.test) if isinstance(split, FileImages)]
    found = contents.of_files(splits, config)
    listing = {"digest": found.listing, "digest_covers": FileImages.covers}
    return contents.identity(config.name, data_set.source, found.digest, found.covers, listing)


def _held_out(root: Path) -> Path | None:
    return next((root / name for name in HELD_OUT if (root / name).is_dir()), None)


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if _is_folder(entry))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, sorted by name, but for what is no data."""
    try:
        with os.scandir(folder) as entries:
            data = [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    return sorted(data, key=lambda entry: entry.name)


def _split(folder: Path, classes: list[str], config: DataConfig) -> FileImages:
    absent = sorted(set(classes) ^ set(_classes(folder)))
    if absent:
        raise UserError(f"data.root={config.root}: class folder {absent[0]!r} is not in both train/ and {folder.name}/")
    paths: list[bytes] = []
    labels: list[np.ndarray] = []
    for label, name in enumerate(classes):
        files = sorted(_images(folder / name, name), key=lambda path: path.rpartition("/"))  # as torchvision sorts
        if not files:
            raise UserError(f"data.root={config.root}: {folder.name}/{name} holds no image ({', '.join(EXTENSIONS)})")
        paths += map(os.fsencode, files)
        labels.append(np.full(len(files), label, dtype=np.int64))
    mode = "L" if config.channels == 1 else "RGB"
    return FileImages(folder, np.array(paths, dtype=np.bytes_), np.concatenate(labels), mode)


def _images(folder: Path, name: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Paths of the images in `folder`, whose own is `name`, and in the folders in it.

    Raises UserError for a file that is empty or not there (a link to nothing), and for a link back to a folder `above`.
    """
    try:
        found = folder.stat()
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    here = (found.st_dev, found.st_ino)
    if here in above:
        raise UserError(f"cannot read the folder {folder}: the link leads back to a folder that it lies in")
    for entry in _entries(folder):
        if _is_folder(entry):
            yield from _images(folder / entry.name, f"{name}/{entry.name}", (*above, here))
        elif entry.name.lower().endswith(EXTENSIONS):
            _require_content(entry)
            yield f"{name}/{entry.name}"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _require_content(entry: os.DirEntry[str]) -> None:
    try:
        size = entry.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read the image {entry.path}: {error.strerror or error}") from error
    if not size:
        raise UserError(f"cannot read the image {entry.path}: the file is empty")
