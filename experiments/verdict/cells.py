"""Which cell of which table a run fills."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from experiments.schema.tables import Cell, Table, load_table, table_names


def matches(record: dict[str, Any], cell: Cell) -> bool:
    """Whether `record` is a run of `cell`, at any scale and seed and whatever else its command line changed. A
    cell that leaves its recipe, budget or batch size open takes any."""
    return (record["exp"], record["optim"]) == (cell.exp, cell.optim) and all(
        getattr(cell, field) in (None, record.get(field)) for field in ("recipe", "epochs", "updates", "batch_size")
    )


def cells_of(record: dict[str, Any]) -> list[tuple[Table, Cell]]:
    """The cells that `record` fills, over all tables, in the order of their names."""
    tables = [load_table(name) for name in table_names()]
    return [(table, cell) for table in tables for cell in table.cells if matches(record, cell)]


def runs_of(cell: Cell, records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records that are runs of `cell`."""
    return [record for record in records if matches(record, cell)]
