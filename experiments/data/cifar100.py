"""CIFAR-100 (60,000 colour images of 32 x 32, 100 classes) from the hub, its authors' files, or an image folder."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import contents, folder, hub
from experiments.data.images import ArrayImages, DataSet
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

FILES = "cifar-100-python"  # the folder in the authors' cifar-100-python.tar.gz; in it train, test and meta
HINT = (
    f"data.hub=uoft-cs/cifar100, data.root=FOLDER that holds {FILES}/ "
    "(www.cs.toronto.edu/~kriz/cifar.html, unpacked), or data.root=FOLDER with train/ and test/ of images"
)


def load(config: DataConfig) -> DataSet:
    """Load from `config.hub`, or from `config.root`: the folder that holds `cifar-100-python`, or an image folder.

    Raises UserError when neither is given, the place is missing, or the authors' files are not the known ones.
    """
    if problem := missing(config):
        raise UserError(problem)
    if config.hub:
        return hub.load(config)
    root = _authors_files(config)
    if root is None:
        return folder.load(config)
    if config.channels != 3:
        raise UserError(f"data.channels={config.channels}, but {FILES} holds colour images: 3")
    return DataSet("cifar100", FILES, 100, *(_split(root, train) for train in (True, False)))


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents."""
    if config.hub:
        return hub.identity(config)
    root = _authors_files(config)
    if root is None:
        return folder.identity(config)
    digest = sha256()
    for name in ("train", "test"):
        digest.update((root / FILES / name).read_bytes())
    return contents.identity(config.name, FILES, digest.hexdigest(), f"bytes of {FILES}/train and {FILES}/test")


def missing(config: DataConfig) -> str | None:
    """Say what is not there, or return None."""
    if config.hub:
        return hub.missing(config)
    if not config.root:
        return f"data=cifar100 needs a place to read from: {HINT}"
    if not Path(config.root).exists():
        return f"data.root={config.root} does not exist; data=cifar100 can be read from {HINT}"
    return None if _authors_files(config) else folder.missing(config)


def _authors_files(config: DataConfig) -> Path | None:
    """The folder that holds `cifar-100-python`, where `config.root` is it or that one itself."""
    root = Path(config.root or "")
    holder = root.parent if root.name == FILES else root
    return holder if (holder / FILES / "train").is_file() else None


def _split(root: Path, train: bool) -> ArrayImages:
    """One split, by torchvision, which unpickles only files of the known MD5. Raises UserError for others."""
    from torchvision.datasets import CIFAR100  # imports torch

    try:
        split = CIFAR100(str(root), train=train, download=False)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"data.root: {root / FILES} does not hold the authors' train, test and meta, or they are damaged "
            f"({error}); data=cifar100 can be read from {HINT}"
        ) from error
    return ArrayImages(split.data, np.array(split.targets, dtype=np.int64))
