"""One imported run: what its source says, where it comes from, and what is not known about it.

    results/imported/<name>/imported.json    origin, what is known, what is unknown
    results/imported/<name>/curve.csv        its evaluations, in columns of ours

Nothing there is overwritten: the same import again changes nothing, another under the same name is refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.record.atomic import write_atomically
from experiments.record.canonical import sha256
from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion

# What a reader of a result must know; what a source does not say of these is listed as unknown.
WANTED = (
    "experiment",
    "optimizer",
    "lr",
    "weight_decay",
    "batch_size",
    "epochs",
    "seed",
    "data",
    "hardware",
    "revision",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
X = ("epoch", "update")
LARGEST = 256 * 2**20  # bytes of a source file
Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Imported:
    """A run of somebody else's. `origin` has `reader`, `source` (a file's name or an address) and `sha256` where there
    is a file; `known` what the source says, by the words of `WANTED` and others; `rows` its evaluations, each with
    `epoch` or `update`."""

    name: str
    origin: dict[str, str]
    known: dict[str, Any] = field(default_factory=dict)
    rows: Rows = field(default_factory=list)

    @property
    def unknown(self) -> list[str]:
        """What the source does not say."""
        return [word for word in WANTED if self.known.get(word) in (None, "")]

    @property
    def metrics(self) -> list[str]:
        """The columns of its evaluations but for what they are counted by."""
        return [key for key in dict.fromkeys(key for row in self.rows for key in row) if key not in X]

    def series(self, metric: str) -> list[float]:
        """The finite values of a metric, in order."""
        return [row[metric] for row in self.rows if metric in row and math.isfinite(row[metric])]


def save(run: Imported, results: Path | None = None) -> Path:
    """Write an imported run; return its folder. Raises UserError for a name that is none or is taken by another import,
    and for one without evaluations."""
    if not NAME.fullmatch(run.name):
        raise UserError(f"{run.name!r} is no name for an imported run: letters, digits, dots, dashes and underlines")
    if not run.rows:
        raise UserError(f"{run.origin.get('source')}: no evaluations found, so there is nothing to import")
    folder = (results or paths.RESULTS) / "imported" / run.name
    about = {key: value for key, value in asdict(run).items() if key != "rows"} | {"unknown": run.unknown}
    files = {
        "curve.csv": _csv(run.rows).encode(),
        "imported.json": (json.dumps({"imported": True, **about}, indent=2, sort_keys=True) + "\n").encode(),
    }
    for name, content in files.items():
        if (folder / name).exists() and (folder / name).read_bytes() != content:
            raise UserError(f"{paths.relative(folder)} holds another import: give this one another name (--name)")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def load_all(results: Path | None = None) -> list[Imported]:
    """Every imported run of a results folder, by name. Raises UserError for a file that cannot be read."""
    found = []
    for path in sorted(((results or paths.RESULTS) / "imported").glob("*/imported.json")):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            with (path.parent / "curve.csv").open(newline="") as file:
                rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
            found.append(Imported(about["name"], about["origin"], about["known"], rows))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{paths.relative(path)} is no imported run: {error}") from error
    return found


def renamed(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], where: str) -> Rows:
    """`rows` with the columns that `names` maps, under our names; numbers only. Raises UserError for a column that is
    not there, with the nearest that is, and where no row says its epoch or update."""
    there = dict.fromkeys(key for row in rows for key in row)
    for column in names:
        if column not in there:
            raise UserError(f"{where}: there is no column {column!r}{suggestion(column, list(there))}")
    found: Rows = []
    for row in rows:
        numbers = {ours: number for theirs, ours in names.items() if (number := as_number(row.get(theirs))) is not None}
        if set(numbers) - set(X):
            found.append(numbers)
    if found and not any(set(row) & set(X) for row in found):
        raise UserError(f"{where}: no column is mapped to epoch or update: say which, such as --column Epoch=epoch")
    return found


def as_number(value: Any) -> float | None:
    """A number, also from a text; None for what is none."""
    try:
        return None if value in (None, "") or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def read_source(path: Path) -> tuple[bytes, dict[str, str]]:
    """The content of a source file and its origin. Raises UserError for one that cannot be read or is too large."""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: {path.stat().st_size:,} bytes are more than {LARGEST:,}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return content, {"source": path.name, "sha256": sha256(content)}


def _csv(rows: Rows) -> str:
    columns = dict.fromkeys([*(x for x in X if any(x in row for row in rows)), *(key for row in rows for key in row)])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
