"""Tables of the paper as lists of cells: each cell is one run, tied to the id of its reported number."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.schema import names, paths
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.point import Point
from experiments.schema.sources import read

CELL_KEYS = ("exp", "optim", "epochs", "updates", "recipe", "batch_size")


@dataclass(frozen=True)
class Cell:
    """One cell: what to run, the metric that it shows where that is not the table's, and the id of the number that the
    paper printed for it (None: none printed)."""

    exp: str
    optim: str
    epochs: int | None = None
    recipe: str | None = None
    batch_size: int | None = None
    reported: str | None = None
    updates: int | None = None
    metric: str | None = None

    def choices(self) -> dict[str, Any]:
        """The choices of the cell, by key of the command line."""
        return {key: getattr(self, key) for key in CELL_KEYS if getattr(self, key) is not None}

    def arguments(self, scale: str = "mini", extra: list[str] | None = None) -> list[str]:
        """The command line of `run.py` for this cell."""
        return [f"{key}={value}" for key, value in self.choices().items()] + [f"scale={scale}", *(extra or [])]


@dataclass(frozen=True)
class Table:
    """One table: its cells, and which of their keys name its rows and columns. `beside` is a second metric to show of
    our runs, where the one that the paper reports is not the one to go by. `averages` has the id of the mean over a row
    that the paper prints, by what names the row. `seeds` are those that a cell is judged by at paper scale, fixed
    before any of them was run: before all have ended a verdict is an early look, and other seeds are not judged.
    """

    name: str
    title: str
    metric: str
    rows: str
    columns: list[str]
    cells: list[Cell]
    column_labels: dict[Any, str] = field(default_factory=dict)
    row_labels: dict[Any, str] = field(default_factory=dict)
    beside: str | None = None
    averages: dict[Any, str] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)


def table_names(configs: Path = paths.CONFIGS) -> list[str]:
    """Names of all tables of cells; those of stages are studies (`experiments.schema.studies`)."""
    return [name for name in names.choices("table", configs) if "cells" in read(configs / "table" / f"{name}.yaml")]


@functools.cache
def load_table(name: str, configs: Path = paths.CONFIGS) -> Table:
    """The table of `configs/table/<name>.yaml`. Raises UserError for an unknown table or an unknown key in it."""
    names.require("table", name, "command line", configs)
    tree = dict(read(configs / "table" / f"{name}.yaml"))
    where = f"configs/table/{name}.yaml"
    if "cells" not in tree:
        raise UserError(f"{where}: a study of stages, no table of cells")
    cells = [_cell(cell, where) for cell in tree.pop("cells")]
    try:
        return Table(name=name, cells=cells, **tree)
    except TypeError as error:
        raise UserError(f"{where}: {str(error).partition('__init__() ')[2]}") from None


def expand(point: Point, configs: Path = paths.CONFIGS) -> list[Point]:
    """The cells of `table=...` as points, or `point` itself where it names no table.

    Other choices beside the table (`optim=adan`) pick the cells that have them; values apply to every cell.
    """
    name = point.choices.get("table")
    if "stage" in point.choices:
        raise UserError(f"stage={point.choices['stage']} (command line): only a study has stages, such as table=f2")
    if name is None:
        return [point]
    table = load_table(names.require("table", name, "command line", configs), configs)
    wanted = {key: value for key, value in point.choices.items() if key in CELL_KEYS}
    cells = [cell for cell in table.cells if wanted.items() <= cell.choices().items()]
    if not cells:
        for key, value in wanted.items():
            known = sorted({str(getattr(cell, key)) for cell in table.cells})
            if str(value) not in known:
                raise UserError(f"{key}={value} (command line): no cell of table {name}{suggestion(value, known)}")
        raise UserError(f"{', '.join(f'{k}={v}' for k, v in wanted.items())} (command line): no cell of table {name}")
    rest = {key: value for key, value in point.choices.items() if key != "table"}
    return [replace(point, choices={**rest, **cell.choices()}) for cell in cells]


def batch_sizes(config: RunConfig, configs: Path = paths.CONFIGS) -> set[int]:
    """Nominal batch sizes at which some table has a cell of this experiment, optimizer, recipe and budget."""
    return {
        cell.batch_size
        for name in table_names(configs)
        for cell in load_table(name, configs).cells
        if cell.batch_size is not None
        and (cell.exp, cell.optim) == (config.exp, config.optim["name"])
        and cell.recipe in (None, config.recipe)
        and cell.epochs in (None, config.epochs)
        and cell.updates in (None, config.updates)
    }


def _cell(cell: dict[str, Any], where: str) -> Cell:
    known = (*CELL_KEYS, "metric", "reported")
    for key in cell:
        if key not in known:
            raise UserError(f"{where}: a cell has no key {key!r}{suggestion(key, known)}")
    return Cell(**cell)
