"""Which cell of which table a run fills, and of which stage of which study it is a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from experiments.schema.studies import Stage, Study, load_study, study_names
from experiments.schema.tables import Cell, Table, load_table, table_names
from experiments.verdict.arms import belongs


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


def stages_of(record: dict[str, Any]) -> list[tuple[Study, Stage]]:
    """The stages that `record` is a run of, over all studies. One that takes its rates from another has any rate."""
    return [
        (study, stage)
        for study in map(load_study, study_names())
        for stage in study.stages
        if record["exp"] in stage.exps and record["optim"] in stage.optims and _in_stage(record, stage)
    ]


def _in_stage(record: dict[str, Any], stage: Stage) -> bool:
    rate = None if stage.lr is None else record["config"]["optim"]["lr"]
    in_grid = not isinstance(stage.lr, list) or rate in stage.lr
    return in_grid and belongs(record, stage, record["exp"], record["optim"], rate)
