"""Read what papers say: the reported numbers of `results/reported/<table>.yaml`, each with its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion
from experiments.schema.tables import Cell
from experiments.verdict import inputs

# Words by which the notes of results/reported mark a number that its sources do not agree on.
DOUBTFUL = ("SUSPECT", "DISAGREEMENT", "second published value")


@dataclass(frozen=True)
class Reported:
    """One printed number. `value` is in `unit` (top-1 in percent); `direction` says which way is better.

    `provenance` is who measured it (`ours-in-paper` by the paper's authors, `cited` taken over by them,
    `repo-only` printed beside the code); `runs` how many runs it is the mean of (one unless the source says).
    """

    id: str
    table: str
    model: str
    optimizer: str
    dataset: str
    metric: str
    direction: str
    value: float
    unit: str = ""
    source: tuple[str, ...] = ()
    provenance: str = ""
    cited_from: str = ""
    note: str = ""
    runs: int = 1

    @property
    def doubtful(self) -> bool:
        """Whether sources disagree about this number or it is suspected of a slip."""
        return any(word in self.note for word in DOUBTFUL)

    @property
    def doubt(self) -> str:
        """Say what is doubtful about this number, in one sentence; empty when nothing is."""
        return f"the reported number is in doubt: {self.note}" if self.doubtful else ""


def load_reported() -> dict[str, Reported]:
    """All reported numbers by id. Raises UserError for a malformed record or an id used twice."""
    numbers: dict[str, Reported] = {}
    for path in sorted(inputs.folder("reported").glob("*.yaml")):
        for record in (inputs.read_yaml(path) or {}).get("records", []):
            number = _parse(record, paths.relative(path))
            if number is None:
                continue
            if number.id in numbers:
                raise UserError(f"{paths.relative(path)}: reported number {number.id!r} appears twice")
            numbers[number.id] = number
    return numbers


def find_reported(numbers: dict[str, Reported], id: str | None, origin: str) -> Reported | None:
    """The number that `origin` (a cell of a table) names; None when it names none. Raises UserError when the
    id does not exist."""
    if id is None:
        return None
    if id not in numbers:
        raise UserError(f"{origin}: no reported number {id!r} in results/reported{suggestion(id, numbers)}")
    return numbers[id]


def reported_for(numbers: dict[str, Reported], cell: Cell, table: str) -> Reported | None:
    """The number that a cell of `table` names, under the cell's metric: what a paper prints under one name may have
    been measured as another, and the table says as which. Raises UserError when the id does not exist."""
    reported = find_reported(numbers, cell.reported, f"configs/table/{table}.yaml")
    return replace(reported, metric=cell.metric) if reported and cell.metric else reported


def load_disagreements(table: str) -> list[str]:
    """Return what the sources of one table (`t4`) disagree about, as its file of reported numbers lists it."""
    path = inputs.folder("reported") / f"{table}.yaml"
    if not path.is_file():
        return []
    content = inputs.read_yaml(path) or {}
    return [str(line) for line in content.get("disagreements", content.get("meta", {}).get("disagreements", []))]


def _parse(record: dict[str, Any], origin: str) -> Reported | None:
    """One record of a file; None for a record that establishes no number (a cell known to exist only)."""
    if not isinstance(record.get("value"), int | float) or isinstance(record["value"], bool):
        return None
    missing = [name for name in ("id", "metric", "direction") if not record.get(name)]
    if missing or record["direction"] not in ("max", "min"):
        raise UserError(f"{origin}: record {record.get('id')!r} needs id, metric and direction (max or min)")
    texts = ("table", "model", "optimizer", "dataset", "unit", "provenance", "cited_from", "note")
    return Reported(
        id=record["id"],
        metric=record["metric"],
        direction=record["direction"],
        value=float(record["value"]),
        runs=int(record.get("runs", 1)),
        source=tuple(_as_list(record.get("source"))),
        **{name: str(record.get(name) or "") for name in texts},
    )


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
