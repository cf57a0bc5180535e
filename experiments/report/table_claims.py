"""The claims of a table on its page: the verdict on each, and the comparisons of cells behind it."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report import markdown
from experiments.report.grid import column_text
from experiments.schema.tables import Table
from experiments.verdict.claims import SIGNIFICANT
from experiments.verdict.table_claims import Judged, Pair

RULES = (
    "A claim speaks of every pair of cells below it. A pair is compared once all planned seeds of both have ended "
    "(exact Mann-Whitney test, a run that failed is the lowest): one pair in which the first is worse at 5 % after "
    "Holm's correction refutes the claim, all better at 5 % each support it, anything else leaves it open."
)


def section(table: Table, judged: Sequence[Judged]) -> str:
    """The claims with their verdicts; empty where the table has none."""
    if not judged:
        return ""
    parts = [f"### What is claimed\n\n{RULES}\n"]
    for one in judged:
        rows = [_row(table, pair) for pair in one.pairs]
        header = ["setting", "first", "second", "first wins", "p, adjusted", "first is"]
        parts.append(f"- {_sentence(table, one)}\n\n{markdown.table(header, rows)}")
    return "\n".join(parts)


def _sentence(table: Table, one: Judged) -> str:
    """`Decoupled decay beats L2 (fast.ai): **open**, 1 of 2 pairs in favour, 2 of 2 compared.`"""
    counts = f"{len(one.in_favour)} of {len(one.pairs)} pairs in favour, {len(one.compared)} compared"
    few = ""
    if one.smallest_p > SIGNIFICANT:
        few = f" With {len(table.seeds)} seeds a side no p is below {one.smallest_p:.2f}: more are needed to decide it."
    elif one.smallest_p * len(one.pairs) > SIGNIFICANT:
        few = f" With {len(table.seeds)} seeds a side no single pair can refute it after the correction."
    return f"{one.claim.says} ({one.claim.source}): **{one.kind}**, {counts}.{few}"


def _row(table: Table, pair: Pair) -> list[str]:
    names = [table.row_labels.get(cell.optim, cell.optim) for cell in (pair.higher, pair.lower)]
    place = column_text(table, pair.higher)
    if pair.comparison is None or pair.adjusted is None:
        return [place, *names, "-", "-", pair.kind]
    wins = f"{100 * pair.comparison.probability:.0f} %"
    return [place, *names, wins, f"{pair.adjusted:.3g}", pair.kind]
