"""Data sets by name, the order in which samples come, and how they are augmented and read. Images are here, texts in
`text`.

Importing this package imports no torch, so that a plan or an error about missing data answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from experiments.data import text
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from experiments.data.images import DataSet

# name -> (module, its function that loads); the module's `missing` says what is absent, its `identity` what is there.
SOURCES = {
    "imagenet": ("photographs", "load"),
    "cifar10": ("cifar10", "load"),
    "cifar100": ("cifar100", "load"),
    "cars": ("photographs", "load"),
    "mnist": ("packaged", "mnist"),
    "digits": ("packaged", "digits"),
}


def names() -> list[str]:
    """Data sets of images that can be named."""
    return sorted(SOURCES)


def load(config: DataConfig) -> DataSet:
    """Load the data set `config.name`: labels in memory, pixels in memory (small sets) or read when needed.
    With `config.validation_fraction` the held-out split is part of the training set.

    Raises UserError when the name is unknown, the data are missing or not the expected bytes, or counts,
    classes or channels differ from what `config` says (the plan and the schedule count on them).
    """
    source = _source(config)
    if problem := _module(config).missing(config):
        raise UserError(problem)
    data_set = source(config)
    _compare(config, data_set)
    return data_set.validating(config.validation_size) if config.validation_fraction else data_set


def missing(config: DataConfig) -> str | None:
    """Say what the user must provide before `load`, here or of `text`, can work, in one sentence, or None. Fast;
    imports no torch."""
    return text.missing(config) if config.name in text.SOURCES else _module(config).missing(config)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load`, here or of `text`, would read, by its contents: see `contents` and `record.same_data`.
    Imports no torch.

    Raises UserError when something is missing or cannot be read.
    """
    if problem := missing(config):
        raise UserError(problem)
    return text.identity(config) if config.name in text.SOURCES else _module(config).identity(config)


def _module(config: DataConfig):
    if config.name not in SOURCES:
        kind = "no data set of images" if config.name in text.SOURCES else "no data set"
        raise UserError(f"data.name={config.name!r} is {kind}{suggestion(config.name, names())}")
    return import_module(f"experiments.data.{SOURCES[config.name][0]}")


def _source(config: DataConfig) -> Callable[[DataConfig], DataSet]:
    return getattr(_module(config), SOURCES[config.name][1])


def _compare(config: DataConfig, data_set: DataSet) -> None:
    for key, split in (("train_size", data_set.train), ("test_size", data_set.test)):
        if len(split) != getattr(config, key):
            raise UserError(
                f"data.{key}={getattr(config, key)}, but {data_set.source} holds {len(split)} images: "
                f"give data.{key}={len(split)} if that is meant"
            )
    if data_set.num_classes != config.num_classes:
        raise UserError(f"data.num_classes={config.num_classes}, but {config.name} has {data_set.num_classes} classes")
    if config.channels not in (1, 3):
        raise UserError(f"data.channels={config.channels} is not possible; choose 1 (grey) or 3 (colour)")
    for key in ("mean", "std"):
        if len(getattr(config, key)) != config.channels:
            raise UserError(
                f"data.{key}={getattr(config, key)} must have one value for each of {config.channels} channels"
            )
