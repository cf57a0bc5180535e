"""Data sets of the Hugging Face `datasets` library: a repository's name or a local directory."""

from __future__ import annotations

import importlib.util
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import contents
from experiments.data.images import DataSet, TableImages
from experiments.schema.config import DataConfig
from experiments.schema.errors import DataError, UserError

HELD_OUT = ("validation", "val", "test")
SCRIPT = "scripts are no longer supported"  # what datasets from version 4 on says of a repository that is a program
CONVERTED = "refs/convert/parquet"  # the hub's branch with such a repository's tables, a folder for each configuration


def load(config: DataConfig) -> DataSet:
    """Load the images of `config.hub` with `datasets.load_dataset`.

    Downloads go to `config.cache` (default: the library's). The library prepares all splits, also those that nothing
    here reads: only then does it find them again in its cache where there is no network, as on many clusters.

    The image and the label column are found by their types. Raises UserError when the repository cannot be
    loaded, lacks a split, a column or a label, or has another number of classes than `config.num_classes`.
    """
    table = tables(config)
    needed = _needed(table)
    if len(needed) < 2:
        raise UserError(f"data.hub={config.hub} has splits {sorted(table)}, but needs train and {HELD_OUT[0]}")
    splits = [_split(table[name], name, config) for name in needed]
    return DataSet(config.name, f"Hugging Face data set {shown_name(config)}", config.num_classes, *splits)


def tables(config: DataConfig, configuration: str = "") -> Any:
    """All splits of `config.hub` by name. `configuration` is one of several that a repository may have, unless
    `repository:configuration` names it. Of a repository that is a program (Penn Treebank's), those that the hub keeps.

    Raises UserError when the library is absent or the repository cannot be loaded.
    """
    if problem := missing(config):
        raise UserError(problem)
    import datasets

    hub = config.hub or ""
    repository, _, named = (hub, "", "") if Path(hub).is_dir() else hub.partition(":")
    chosen = named or configuration or None
    try:
        try:
            return datasets.load_dataset(repository, chosen, cache_dir=config.cache)
        except RuntimeError as error:
            if SCRIPT not in str(error):
                raise
        return datasets.load_dataset(repository, data_dir=chosen, cache_dir=config.cache, revision=CONVERTED)
    except Exception as error:  # the library raises a dozen kinds, from requests' to its own
        raise UserError(f"data.hub={config.hub}: {type(error).__name__}: {error}") from error


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents."""
    data_set = load(config)
    splits = [split for split in (data_set.train, data_set.test) if isinstance(split, TableImages)]
    features = splits[0].rows.features
    [label] = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"][:1]
    digest, covers = contents.of_tables([split.rows for split in splits], [label, splits[0].column], config)
    labels = {key: value for key, value in data_set.manifest().items() if key in ("digest", "digest_covers")}
    return contents.identity(config.name, data_set.source, digest, covers, labels)


def shown_name(config: DataConfig) -> str:
    """The repository, or the last part of a folder: records name no folders of this machine."""
    folder = Path(config.hub or "")
    return folder.name if folder.is_dir() else str(config.hub)


def texts(rows: Any, column: str, where: str) -> Iterator[str]:
    """The texts of a column. Raises DataError, naming the row, where there is none."""
    for row, text in enumerate(rows[column]):
        if text is None:
            raise DataError(f"row {row} (from 0) of {where} has no {column}")
        yield text


def missing(config: DataConfig) -> str | None:
    """Say what to install when the library is absent. The repository itself is only seen when it is loaded."""
    if importlib.util.find_spec("datasets") is None:
        return f"data.hub={config.hub} needs the package datasets, which is not installed: pip install datasets"
    return None


def _needed(splits: Container[str]) -> list[str]:
    """`train` and the held-out split, as far as they are among `splits`."""
    return [name for name in ("train", *[name for name in HELD_OUT if name in splits][:1]) if name in splits]


def _split(rows, name: str, config: DataConfig) -> TableImages:
    import datasets

    images = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in rows.features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images or not labels:
        columns = {name: type(kind).__name__ for name, kind in rows.features.items()}
        raise UserError(f"data.hub={config.hub} has columns {columns}, but needs an Image and a ClassLabel")
    found = rows.features[labels[0]].num_classes
    if found != config.num_classes:
        raise UserError(f"data.hub={config.hub} has {found} classes, but data.num_classes={config.num_classes}")
    where = f"split {name} of data.hub={config.hub}"
    mode = "L" if config.channels == 1 else "RGB"
    return TableImages(rows, images[0], _labels(rows[labels[0]][:], found, where), mode, where)


def _labels(given: list[Any], classes: int, where: str) -> np.ndarray:
    """int64 [n]. The library lets rows be without a label (None), or hides it (-1, as of many test splits)."""
    for row, label in enumerate(given):
        if label is None or not 0 <= label < classes:
            raise UserError(f"row {row} (from 0) of {where} has label {label}, expected one from 0 to {classes - 1}")
    return np.asarray(given, dtype=np.int64)
