"""Results in files of rows: timm's `summary.csv` with its `args.yaml`, and CSV or JSON with a mapping of columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.imports.imported import Imported, X, as_number, read_source, renamed
from experiments.schema.errors import UserError

# timm's summary.csv, and what its args.yaml calls the things that a reader must know.
TIMM_COLUMNS = {
    "epoch": "epoch",
    "train_loss": "train_loss",
    "eval_loss": "eval_loss",
    "eval_top1": "top1",
    "eval_top5": "top5",
    "lr": "learning_rate",
}
TIMM_ARGUMENTS = {
    "model": "experiment",
    "opt": "optimizer",
    "lr": "lr",
    "weight_decay": "weight_decay",
    "epochs": "epochs",
    "seed": "seed",
    "dataset": "data",
}


def timm_run(folder: Path, name: str, about: Mapping[str, Any]) -> Imported:
    """The run of a timm output folder, or of its summary.csv. `about` adds to what args.yaml says, and goes before it.

    The batch is not what args.yaml says: that is per device, and their number stands nowhere.
    """
    summary = folder / "summary.csv" if folder.is_dir() else folder
    content, origin = read_source(summary)
    rows = _csv_rows(content, summary)
    names = {theirs: ours for theirs, ours in TIMM_COLUMNS.items() if rows and theirs in rows[0]}
    if "eval_top1" not in names and "eval_loss" not in names:
        raise UserError(f"{summary}: no summary of timm: it has neither eval_top1 nor eval_loss")
    arguments = _arguments(summary.parent / "args.yaml")
    known = {ours: arguments.get(theirs) for theirs, ours in TIMM_ARGUMENTS.items()}
    if arguments.get("batch_size") is not None:
        known["batch_size_per_device"] = arguments["batch_size"]
    said = {key: value for key, value in {**known, **about}.items() if value is not None}
    return Imported(name, {"reader": "timm", **origin}, said, renamed(rows, names, str(summary)))


def mapped(path: Path, name: str, columns: Mapping[str, str], about: Mapping[str, Any]) -> Imported:
    """A CSV file, or a JSON file that holds a list of mappings (or a mapping with one list of them). `columns` maps
    theirs to ours; columns that have our names already need no mapping.

    Raises UserError for a file that is neither, and a column that is not there.
    """
    content, origin = read_source(path)
    rows = _csv_rows(content, path) if path.suffix.lower() == ".csv" else _json_rows(content, path)
    numeric = [key for key in dict.fromkeys(key for row in rows for key in row) if _is_numeric(rows, key)]
    names = dict(columns) or {key: "update" if key in ("step", "iteration") else key for key in numeric}
    if not set(names.values()) & set(X):
        names = {**{key: key for key in numeric if key in X}, **names}
    reader = "csv" if path.suffix.lower() == ".csv" else "json"
    return Imported(name, {"reader": reader, **origin}, dict(about), renamed(rows, names, str(path)))


def _csv_rows(content: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file: {error}") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{path}, line {number}: its columns are not those of the header")
    return rows


def _json_rows(content: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON file: {error}") from error
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        found = lists[0] if len(lists) == 1 else found
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise UserError(f"{path}: expected a list of mappings, one for each evaluation")
    return found


def _arguments(path: Path) -> dict[str, Any]:
    """What args.yaml says: plain values only, tags of Python objects are left out and never made."""
    if not path.exists():
        return {}
    content, _ = read_source(path)
    try:
        found = yaml.load(content, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML file: {error}") from error
    return found if isinstance(found, dict) else {}


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that reads a tag it does not know, such as timm's `!!python/tuple`, as its plain content."""


def _plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def _is_numeric(rows: list[dict[str, Any]], key: str) -> bool:
    return any(as_number(row.get(key)) is not None for row in rows)
