"""What sources claim, as data: `results/reported/claims.yaml`, the one list of claims that this suite judges.

A claim speaks of pairs of cells of our tables, or of a study, or says in `missing` why this suite cannot judge it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion
from experiments.schema.studies import known_fields, study_names
from experiments.schema.tables import CELL_KEYS, Cell, Table, load_table, table_names
from experiments.verdict import inputs

BETTER_THAN, BEST_OF_TABLE, HALF_BUDGET = "better_than", "best_of_table", "half_budget_reaches_full"
TOLERATES, STABLE = "tolerates", "stable"
PAIRED = (BETTER_THAN, HALF_BUDGET, TOLERATES)
CLAIM_KINDS = (BETTER_THAN, BEST_OF_TABLE, HALF_BUDGET, TOLERATES, STABLE)
PLACES = ("tables", "study", "missing")


@dataclass(frozen=True)
class Claim:
    """One sentence of a source: `says` in our words, `source` with its table, figure or section.

    `cells` picks cells of `tables` by keys of the command line. Kinds, of which the first optimizer of each of `pairs`
    is the subject: `better_than` and `tolerates` (loses less from its best batch size to its worst) compare in every
    setting that has both; `half_budget_reaches_full` compares the cell of the first picked by `half` with that of the
    second picked by `full`. `best_of_table` and `stable` speak of one `optim`. `on_table_page` shows it on the page of
    its table, too.
    """

    id: str
    says: str
    source: str
    kind: str
    tables: list[str] = field(default_factory=list)
    study: str = ""
    missing: str = ""
    pairs: list[list[str]] = field(default_factory=list)
    optim: str = ""
    cells: dict[str, Any] = field(default_factory=dict)
    half: dict[str, Any] = field(default_factory=dict)
    full: dict[str, Any] = field(default_factory=dict)
    on_table_page: bool = False

    def compared(self, table: Table) -> list[tuple[Cell, Cell]]:
        """The pairs of cells of `table` that the claim compares, the first with the better value if it is true."""
        picked = [cell for cell in table.cells if self.cells.items() <= cell.choices().items()]
        if self.kind == HALF_BUDGET:
            halves = [cell for cell in picked if self.half.items() <= cell.choices().items()]
            fulls = [cell for cell in picked if self.full.items() <= cell.choices().items()]
            return [
                (one, other)
                for first, second in self.pairs
                for one in halves
                for other in fulls
                if (one.optim, other.optim) == (first, second)
                and _setting(table, one, ()) == _setting(table, other, ())
            ]
        others = dict.fromkeys(cell.optim for cell in picked if cell.optim != self.optim)
        pairs = [[self.optim, other] for other in others] if self.kind == BEST_OF_TABLE else self.pairs
        found = []
        for higher, lower in pairs:
            beside = {_setting(table, cell): cell for cell in picked if cell.optim == lower}
            found += [
                (cell, beside[_setting(table, cell)])
                for cell in picked
                if cell.optim == higher and _setting(table, cell) in beside
            ]
        return found

    def subjects(self, table: Table) -> list[Cell]:
        """The cells of `optim` that `cells` picks."""
        return [c for c in table.cells if c.optim == self.optim and self.cells.items() <= c.choices().items()]


def load_claims(path: Path | None = None) -> list[Claim]:
    """All claims, in the file's order. Raises UserError, naming file and entry, for an unknown or missing key, an id
    used twice, an unknown kind or place, and a claim that finds no cells for one of its optimizers."""
    path = path or inputs.folder("reported") / "claims.yaml"
    where = paths.relative(path)
    content = inputs.read_yaml(path)
    entries = content.get("claims") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{where}: needs a list of `claims`")
    claims: list[Claim] = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise UserError(f"{where}: entry {number} is no mapping of keys to values")
        what = f"{where}: claim {entry.get('id', f'number {number}')}"
        claim = Claim(**known_fields(entry, Claim, what))
        if claim.id in [other.id for other in claims]:
            raise UserError(f"{what} appears twice")
        _check(claim, what)
        claims.append(claim)
    return claims


def claims_of_page(table: Table) -> list[Claim]:
    """The claims that stand on the page of `table`."""
    return [claim for claim in load_claims() if claim.on_table_page and table.name in claim.tables]


def _check(claim: Claim, what: str) -> None:
    if claim.kind not in CLAIM_KINDS:
        raise UserError(f"{what}: no kind {claim.kind!r}{suggestion(claim.kind, CLAIM_KINDS)}")
    if sum(bool(getattr(claim, place)) for place in PLACES) != 1:
        raise UserError(f"{what} needs one of {', '.join(PLACES)}")
    if claim.study and claim.study not in study_names():
        raise UserError(f"{what}: no study {claim.study!r}{suggestion(claim.study, study_names())}")
    for name in claim.tables:
        if name not in table_names():
            raise UserError(f"{what}: no table {name!r}{suggestion(name, table_names())}")
    if not claim.tables:
        return
    needed = ("half", "full") if claim.kind == HALF_BUDGET else ()
    for key in ("pairs" if claim.kind in PAIRED else "optim", *needed):
        if not getattr(claim, key):
            raise UserError(f"{what} of kind {claim.kind} lacks {key}")
    for key in (*claim.cells, *claim.half, *claim.full):
        if key not in CELL_KEYS:
            raise UserError(f"{what}: a cell has no key {key!r}{suggestion(key, CELL_KEYS)}")
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in claim.pairs):
        raise UserError(f"{what}: each of `pairs` names two optimizers")
    for table in map(load_table, claim.tables):
        if claim.kind == STABLE and not claim.subjects(table):
            raise UserError(f"{what}: table {table.name} has no cell of {claim.optim!r} that it picks")
        found = {(one.optim, other.optim) for one, other in claim.compared(table)}
        if claim.kind == BEST_OF_TABLE and not found:
            raise UserError(f"{what}: table {table.name} has no cells of {claim.optim!r} beside another's")
        if lost := [pair for pair in claim.pairs if tuple(pair) not in found]:
            raise UserError(f"{what} compares optimizers that have no cells side by side in {table.name}: {lost[0]}")


def _setting(table: Table, cell: Cell, budget: tuple[str, ...] = ("epochs", "updates")) -> tuple[Any, ...]:
    """What two cells must share to be compared: all keys but the optimizer (and the budget, where `budget` is empty),
    and the metric."""
    keys = [key for key in CELL_KEYS if key != "optim" and (key in budget or key not in ("epochs", "updates"))]
    return (*(getattr(cell, key) for key in keys), cell.metric or table.metric)
