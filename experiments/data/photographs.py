"""Photographs of many sizes, ImageNet-1k and Stanford Cars, from an image folder (`data.root=`) or the hub
(`data.hub=`)."""

from __future__ import annotations

from typing import Any

from experiments.data import folder, hub
from experiments.data.images import DataSet
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

PLACES = {
    "imagenet": "data.root=FOLDER with train/ and val/, or data.hub=ILSVRC/imagenet-1k (a Hugging Face data set)",
    "cars": "data.root=FOLDER with train/ and test/, in each a folder for each of the 196 classes, or "
    "data.hub=REPOSITORY (a Hugging Face data set)",
}


def load(config: DataConfig) -> DataSet:
    """Load the listing. Raises UserError when no place is given or something is missing there."""
    if problem := missing(config):
        raise UserError(problem)
    return hub.load(config) if config.hub else folder.load(config)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents."""
    return hub.identity(config) if config.hub else folder.identity(config)


def missing(config: DataConfig) -> str | None:
    """Say what is not there, or return None."""
    if config.hub:
        return hub.missing(config)
    if not config.root:
        return f"data={config.name} needs a place to read from: {PLACES[config.name]}"
    return folder.missing(config)
