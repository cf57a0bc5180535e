"""The tasks of GLUE (Wang et al. 2019) that Table 10 has, and one of our own: labelled texts and pairs of texts.

A folder (`data.root`) holds a task's official TSV files, or folders with them named as GLUE names its tasks; the hub
(`data.hub`) has them as `nyu-mll/glue`. `imdb_sentiment` needs neither: its reviews lie in the package movie_reviews.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import contents, hub, reviews
from experiments.data.text import movie_reviews
from experiments.data.text.lines import numbered_lines
from experiments.schema.config import DataConfig
from experiments.schema.errors import DataError, UserError, suggestion

HUB = "nyu-mll/glue"
SENTIMENT = "imdb_sentiment"
HELD_OUT = {"held_out": ("dev", "validation")}  # name here -> (of the file, of the split on the hub)
ENTAILMENT = ("entailment", "not_entailment")


@dataclass(frozen=True)
class GlueTask:
    """Tells how a task's files are read. `texts` and `label` are columns of the TSV files, by name or, where these have
    no header, by number; `on_hub` are the columns of texts there. `classes` are the labels in the order of their
    numbers on the hub; none for a regression, whose scores are 0 to `highest`. `metrics` are those of GLUE."""

    texts: tuple[Any, ...]
    label: Any
    classes: tuple[str, ...]
    on_hub: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    held_out: dict[str, tuple[str, str]] = field(default_factory=lambda: HELD_OUT)
    highest: float = 0.0

    @property
    def regression(self) -> bool:
        return not self.classes


# Columns: the files of gluebenchmark.com; numbers of classes: datasets' nyu-mll/glue.
TASKS = {
    "CoLA": GlueTask((3,), 1, ("0", "1"), ("sentence",), ("matthews_corr", "accuracy")),
    "SST-2": GlueTask(("sentence",), "label", ("0", "1"), ("sentence",)),
    "STS-B": GlueTask(
        *(("sentence1", "sentence2"), "score", (), ("sentence1", "sentence2")),
        **{"metrics": ("pearson", "spearman"), "highest": 5.0},  # type: ignore[arg-type]
    ),
    "QQP": GlueTask(
        *(("question1", "question2"), "is_duplicate", ("0", "1"), ("question1", "question2")), ("accuracy", "f1")
    ),
    "MNLI": GlueTask(
        *(("sentence1", "sentence2"), "gold_label", ("entailment", "neutral", "contradiction")),
        ("premise", "hypothesis"),
        held_out={
            "matched": ("dev_matched", "validation_matched"),
            "mismatched": ("dev_mismatched", "validation_mismatched"),
        },
    ),
    "QNLI": GlueTask(("question", "sentence"), "label", ENTAILMENT, ("question", "sentence")),
    "RTE": GlueTask(("sentence1", "sentence2"), "label", ENTAILMENT, ("sentence1", "sentence2")),
    SENTIMENT: GlueTask((), None, ("0", "1"), ()),
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """`texts` holds one or two texts a sample; `labels` class numbers, or scores from 0 to 1: float64 [n]."""

    texts: list[tuple[str, ...]]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, eq=False)
class GlueData:
    """A task's samples: those of training, and each held-out set by its name. `incomplete` counts rows without a text
    or a label, which the official files of QQP have and the hub's do not."""

    name: str
    source: str
    train: Labelled
    held_out: dict[str, Labelled]
    incomplete: int = 0

    def manifest(self) -> dict[str, Any]:
        """Identity of the data for the record."""
        splits = {"train": self.train, **self.held_out}
        digest = sha256()
        for split in splits.values():
            for texts, label in zip(split.texts, split.labels.tolist(), strict=True):
                digest.update("\0".join([*texts, repr(label), ""]).encode())
        return {
            "name": self.name,
            "source": self.source,
            **{name: {"count": len(split)} for name, split in splits.items()},
            "incomplete_rows": self.incomplete,
            "digest": digest.hexdigest(),
            "digest_covers": "texts and labels in order",
        }


def task(name: str) -> GlueTask:
    """The task of that name. Raises UserError with the nearest one."""
    if name not in TASKS:
        raise UserError(f"task.name={name}: no such task{suggestion(name, TASKS)}")
    return TASKS[name]


def load(config: DataConfig, name: str) -> GlueData:
    """Read the task. Raises UserError when data are missing, a row has an unknown label, or sizes are not those of
    `config`, on which the plan counts."""
    if problem := missing(config, name):
        raise UserError(problem)
    data = _read(config, name)
    sizes = {"train_size": len(data.train), "test_size": sum(map(len, data.held_out.values()))}
    for key, found in sizes.items():
        if found != getattr(config, key):
            raise UserError(
                f"data.{key}={getattr(config, key)}, but {data.source} holds {found} samples of {name}: "
                f"give data.{key}={found} if that is meant"
            )
    return data


def identity(config: DataConfig, name: str) -> dict[str, Any]:
    """Identify what `load` would read, by its contents. Raises UserError when something is missing or cannot be
    read."""
    if problem := missing(config, name):
        raise UserError(problem)
    if name == SENTIMENT:
        return contents.identity(name, movie_reviews.SOURCE, movie_reviews.SHA256, f"bytes of {movie_reviews.FILE}")
    if config.hub:
        splits, columns = _tables(config, name), [*task(name).on_hub, "label"]
        digest, covers = contents.of_tables(list(splits.values()), columns, config)
        return contents.identity(name, _source(config, name), digest, covers)
    files = [os.fsencode(f"{file}.tsv") for file, _ in _splits(name).values()]
    found = contents.of_files([(_folder(config, name), files)], config, named=False)
    return contents.identity(name, _source(config, name), found.digest, found.covers)


def missing(config: DataConfig, name: str) -> str | None:
    """Say what the user must provide before `load` can work, in one sentence, or None. Raises UserError for another
    number of classes than the task has."""
    classes = len(task(name).classes) or 1
    if config.num_classes != classes:
        raise UserError(f"data.num_classes={config.num_classes}: {name} has {classes}")
    if name == SENTIMENT:
        return movie_reviews.missing(config)
    files = [f"{file}.tsv" for file, _ in _splits(name).values()]
    if config.hub:
        return hub.missing(config)
    if not config.root:
        return (
            f"task.name={name} needs data.root=FOLDER with {', '.join(files)} (or {name}/ with them), or data.hub={HUB}"
        )
    absent = [file for file in files if not (_folder(config, name) / file).is_file()]
    return f"data.root={config.root} has no {absent[0]} of {name}; it needs {', '.join(files)}" if absent else None


def _read(config: DataConfig, name: str) -> GlueData:
    if name == SENTIMENT:
        return _sentiment()
    return _from_hub(config, name) if config.hub else _from_files(config, name)


def _splits(name: str) -> dict[str, tuple[str, str]]:
    return {"train": ("train", "train"), **task(name).held_out}


def _source(config: DataConfig, name: str) -> str:
    return f"Hugging Face data set {hub.shown_name(config)}" if config.hub else f"official TSV files of {name}"


def _folder(config: DataConfig, name: str) -> Path:
    root = Path(config.root or "")
    return root / name if (root / name).is_dir() else root


def _from_files(config: DataConfig, name: str) -> GlueData:
    folder, incomplete = _folder(config, name), 0
    splits: dict[str, Labelled] = {}
    for split, (file, _) in _splits(name).items():
        splits[split], dropped = _labelled(_rows(folder / f"{file}.tsv", task(name)), name, str(folder / f"{file}.tsv"))
        incomplete += dropped
    return GlueData(name, _source(config, name), splits.pop("train"), splits, incomplete)


def _rows(path: Path, of: GlueTask) -> Iterator[tuple[int, list[str]]]:
    """The line of each row with its texts and label, as far as it goes: quotes mean nothing in these files."""
    rows = csv.reader((line for _, line in numbered_lines(path)), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = [*of.texts, of.label]
    try:
        if not all(isinstance(column, int) for column in columns):
            header = next(rows, [])
            if absent := [column for column in columns if column not in header]:
                raise UserError(f"{path} has no column {absent[0]!r}{suggestion(absent[0], header)}")
            columns = [header.index(column) for column in columns]
        for row in rows:
            yield rows.line_num, [row[column] for column in columns if column < len(row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: no row of a TSV file: {error}") from error


def _labelled(rows: Iterator[tuple[int, list[str]]], name: str, where: str) -> tuple[Labelled, int]:
    """Samples, and how many rows were incomplete; `where` is their file."""
    of = task(name)
    texts: list[tuple[str, ...]] = []
    labels: list[float] = []
    incomplete = 0
    for line, row in rows:
        if len(row) <= len(of.texts) or not all(row):
            incomplete += 1
            continue
        texts.append(tuple(row[:-1]))
        labels.append(_label(row[-1], of, f"{where}, line {line}"))
    if not texts:
        raise UserError(f"{where} holds no samples")
    return Labelled(texts, np.array(labels)), incomplete


def _label(text: str, of: GlueTask, where: str) -> float:
    try:
        label = float(text) if of.regression else float(of.classes.index(text))
    except ValueError:
        label = math.nan
    return _normalised(label, text, of, where)


def _normalised(label: float, shown: object, of: GlueTask, where: str) -> float:
    """A class's number as it is, a score as a share of the highest. Raises UserError for one that cannot be."""
    highest = of.highest if of.regression else len(of.classes) - 1
    if not 0 <= label <= highest:
        expected = f"a score from 0 to {of.highest:g}" if of.regression else f"one of {', '.join(of.classes)}"
        raise UserError(f"{where}: label {shown!r}, expected {expected}")
    return label / of.highest if of.regression else label


def _from_hub(config: DataConfig, name: str) -> GlueData:
    of = task(name)
    splits: dict[str, Labelled] = {}
    for split, table in _tables(config, name).items():
        where = f"split {_splits(name)[split][1]} of {name} in data.hub={config.hub}"
        texts = list(zip(*(hub.texts(table, column, where) for column in of.on_hub), strict=True))
        labels = [
            _normalised(math.nan if label is None else float(label), label, of, f"row {row} (from 0) of {where}")
            for row, label in enumerate(table["label"])
        ]
        splits[split] = Labelled(texts, np.array(labels))
    return GlueData(name, _source(config, name), splits.pop("train"), splits)


def _tables(config: DataConfig, name: str) -> dict[str, Any]:
    """The task's tables on the hub by split, with all their columns."""
    tables = hub.tables(config, name.lower().replace("-", ""))
    found = {}
    for split, (_, there) in _splits(name).items():
        if there not in tables:
            raise UserError(f"data.hub={config.hub} has splits {sorted(tables)}, but {name} needs {there}")
        found[split] = tables[there]
        if absent := [key for key in (*task(name).on_hub, "label") if key not in found[split].column_names]:
            raise UserError(f"data.hub={config.hub}: {name} has no column {absent[0]} but {found[split].column_names}")
    return found


def _sentiment() -> GlueData:
    train, held_out = (
        Labelled([(review.text,) for review in part], np.array([review.label for review in part], dtype=np.float64))
        for part in reviews.labelled()
    )
    return GlueData(SENTIMENT, movie_reviews.SOURCE, train, {"held_out": held_out})
