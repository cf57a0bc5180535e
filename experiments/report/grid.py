"""The paper's layout of a table, filled with results: what every writer (Markdown, LaTeX) renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.report.collect import Result
from experiments.schema.scales import PAPER
from experiments.schema.tables import Cell, Table
from experiments.verdict.judge import NOT_RUN

ABSENT = "-"


@dataclass(frozen=True)
class Row:
    """One line: the label of its row in the paper, what the line shows, and one text per column."""

    label: str
    shows: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """`columns` holds one tuple of labels per column, outermost first (`("ViT-S", "150 epochs")`)."""

    corner: str
    columns: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]


def make_grid(table: Table, results: Sequence[Result], marks: dict[str, str]) -> Grid:
    """Lay out `results` (all of one scale) as the table's rows and columns say, in order of appearance.

    A row of the paper becomes up to five lines: reported, ours (mean, interval, n), ours by the metric beside,
    difference, verdict; at another scale than the paper's only ours. `marks` adds a mark to reported numbers, by id.
    """
    by_place = {(row_key(table, result), column_key(table, result)): result for result in results}
    row_keys = list(dict.fromkeys(row for row, _ in by_place))
    column_keys = list(dict.fromkeys(column for _, column in by_place))
    rows: list[Row] = []
    for key in row_keys:
        line = [by_place.get((key, column)) for column in column_keys]
        label = table.row_labels.get(key, str(key))
        for shows, texts in _lines(line, marks, table.beside):
            rows.append(Row(label, shows, texts))
            label = ""
    columns = tuple(tuple(_column_label(table, field, value) for field, value in key) for key in column_keys)
    return Grid({"optim": "optimizer"}.get(table.rows, table.rows), columns, tuple(rows))


def row_key(table: Table, result: Result) -> Any:
    """Value of the cell's field that the table's rows go by."""
    return getattr(result.cell, table.rows)


def column_key(table: Table, result: Result) -> tuple[tuple[str, Any], ...]:
    """Fields and values of the cell that the table's columns go by."""
    return _column_of(table, result.cell)


def column_label(table: Table, key: tuple[tuple[str, Any], ...]) -> str:
    """One text for a column: `ViT-S, 150 epochs`."""
    return ", ".join(_column_label(table, field, value) for field, value in key)


def column_text(table: Table, cell: Cell) -> str:
    """The column of a cell in one text."""
    return column_label(table, _column_of(table, cell))


def ours(result: Result) -> str:
    """Mean, interval and n of our runs, or `not run`."""
    if result.mean is None:
        return result.verdict.name
    interval = f" {result.interval}" if result.interval else ""
    return f"{result.mean:.2f}{interval} (n = {result.n})"


def _lines(
    line: Sequence[Result | None], marks: dict[str, str], beside: str | None
) -> list[tuple[str, tuple[str, ...]]]:
    present = [result for result in line if result is not None]
    texts = [("ours", tuple(ours(result) if result else ABSENT for result in line))]
    if any(result.beside is not None for result in present):
        texts.append((f"ours, {beside}", tuple(_beside(result) for result in line)))
    if present[0].scale != PAPER:
        return texts
    texts.insert(0, ("reported", tuple(_reported(result, marks) for result in line)))
    if any(result.verdict.kind != NOT_RUN for result in present):
        texts.append(("difference", tuple(_difference(result) for result in line)))
        texts.append(("verdict", tuple(result.verdict.name if result else ABSENT for result in line)))
    return texts


def _beside(result: Result | None) -> str:
    return ABSENT if result is None or result.beside is None else f"{result.beside:.2f}"


def _reported(result: Result | None, marks: dict[str, str]) -> str:
    if result is None or result.reported is None:
        return ABSENT
    return f"{result.reported.value}{marks.get(result.reported.id, '')}"


def _difference(result: Result | None) -> str:
    if result is None or result.verdict.difference is None:
        return ABSENT
    interval = f" {result.verdict.interval.signed()}" if result.verdict.interval else ""
    return f"{result.verdict.difference:+.2f}{interval}"


def _column_of(table: Table, cell: Cell) -> tuple[tuple[str, Any], ...]:
    return tuple((field, getattr(cell, field)) for field in table.columns)


def _column_label(table: Table, field: str, value: Any) -> str:
    text = {"epochs": "{} epochs", "updates": "{:,} updates", "batch_size": "batch {}"}.get(field, "{}")
    return table.column_labels.get(value) or text.format(value)
