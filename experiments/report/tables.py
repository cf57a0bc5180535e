"""The tables of the paper beside ours: `results/tables/<table>.md`, `.tex` and `.csv`, and an index of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.report import (
    claims_page,
    fair_comparison,
    imported_page,
    latex,
    markdown,
    profiles_page,
    study,
    table_claims,
    table_csv,
    tuning_page,
)
from experiments.report.collect import Average, Result, averages, beside_the_authors, records, results, scales
from experiments.report.grid import ABSENT, column_label, make_grid
from experiments.report.ordering import SUBJECT, Winner, orders
from experiments.schema import paths
from experiments.schema.budget import budget_of
from experiments.schema.errors import UserError, suggestion
from experiments.schema.scales import PAPER, SHRUNK, about
from experiments.schema.studies import load_study, study_names
from experiments.schema.tables import Table, load_table, table_names
from experiments.schema.tunings import load_tuning, tuning_names
from experiments.verdict.claims import judge_study
from experiments.verdict.judge import EARLY_LOOK, KINDS, NOT_RUN
from experiments.verdict.reported import Reported, load_disagreements, load_reported
from experiments.verdict.stated_claims import load_claims
from experiments.verdict.table_claims import judge_claims

LEGEND = (
    "`reported` is the paper's number, `ours` the mean of our runs with its 95 % interval, `difference` is ours - "
    "reported with its 95 % interval. `*` marks a number that the paper cites, `[1]` one that a note below doubts."
)
SHRUNK_WARNING = (
    "**not comparable with the paper**. What it can show is which optimizer wins at which budget, at this scale. "
    "Budgets and batch sizes are nominal; the scale multiplies them by its factors."
)


def make_tables(names: Sequence[str] = ()) -> list[Path]:
    """Write the named tables and studies (without names all, and the tunings) and the index; return the files written.

    The same records give the same bytes. A study that is not named is left out where its extra is not installed
    (`study.skipped` says so). Raises UserError for an unknown table, or a named one that cannot be written.
    """
    tables, studies = table_names(), study_names()
    available = [*tables, *studies]
    for name in names:
        if name not in available:
            raise UserError(f"table {name!r} (command line): no such table{suggestion(name, available)}")
        if name in studies and study.skipped(name):
            raise UserError(study.skipped(name))
    known, numbers = records(), load_reported()
    folder = paths.RESULTS / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    written, filled = [], []
    for name in tables:
        table = load_table(name)
        having = scales(cell.exp for cell in table.cells)
        by_scale = {scale: results(table, scale, known, numbers) for scale in having}
        filled.append((table, by_scale))
        if not names or name in names:
            of_rows = averages(table, by_scale[PAPER], numbers)
            claims = table_claims.section(table, judge_claims(table, known))
            written += _write(folder, table, by_scale, of_rows, beside_the_authors(table, known), claims)
    for name in studies:
        if name in names or (not names and not study.skipped(name)):
            written += study.make_study(name, known)
    if not names:
        written += [_write_tuning(folder, name, known) for name in tuning_names() if load_tuning(name).grids]
        written += [
            path for name in tuning_names() if load_tuning(name).fresh_seeds for path in _write_fair(name, known)
        ]
        written.append(_write_imported())
        if load_claims():
            written.append(_write_claims(known, numbers))
    index = folder / "README.md"
    index.write_text(_index(filled) + _studies(studies, known) + _tunings(), encoding="utf-8")
    return [*written, index]


def _write(
    folder: Path,
    table: Table,
    by_scale: dict[str, list[Result]],
    of_rows: Sequence[Average],
    curves: Sequence[str],
    claims: str,
) -> list[Path]:
    lines = [_average(table, average) for average in of_rows]
    texts = {
        "md": _markdown(table, by_scale, lines, curves, claims),
        "tex": _latex(table, by_scale, lines),
        "csv": table_csv.long(table, [result for found in by_scale.values() for result in found]),
    }
    for suffix, text in texts.items():
        (folder / f"{table.name}.{suffix}").write_text(text, encoding="utf-8")
    return [folder / f"{table.name}.{suffix}" for suffix in texts]


def _write_tuning(folder: Path, name: str, known: Sequence[dict[str, Any]]) -> Path:
    path = folder / f"tune_{name}.md"
    path.write_text(tuning_page.page(load_tuning(name), known), encoding="utf-8")
    return path


def _write_fair(name: str, known: Sequence[dict[str, Any]]) -> list[Path]:
    """The page of a tuning with fresh seeds, and where matplotlib is installed the figures of its responses."""
    tuning = load_tuning(name)
    found = fair_comparison.collect(tuning, known)
    drawn: list[Path] = []
    figures: dict[str, str] = {}
    for one in found if not study.missing_packages() else ():
        from experiments.report.response_figure import response

        stem = paths.RESULTS / "figures" / f"response_{one.exp}_{one.scale}"
        files = response(one.arms, f"{one.exp}, {one.scale} scale: trials on seed {tuning.seed}", stem)
        figures |= {f"{one.exp}_{one.scale}": f"figures/{path.name}" for path in files if path.suffix == ".png"}
        drawn += files
    texts = {
        "fair_comparison.md": fair_comparison.page(tuning, found, known, figures),
        "performance_profiles.md": profiles_page.page(tuning, profiles_page.collect(found, known)),
    }
    for file, text in texts.items():
        (paths.RESULTS / file).write_text(text, encoding="utf-8")
    return [*(paths.RESULTS / file for file in texts), *drawn]


def _write_imported() -> Path:
    path = paths.RESULTS / "imported.md"
    path.write_text(imported_page.write_all(), encoding="utf-8")
    return path


def _write_claims(known: Sequence[dict[str, Any]], numbers: dict[str, Reported]) -> Path:
    path = paths.RESULTS / "claims.md"
    path.write_text(claims_page.page(known, numbers), encoding="utf-8")
    return path


def _markdown(
    table: Table, by_scale: dict[str, list[Result]], of_rows: Sequence[str], curves: Sequence[str], claims: str
) -> str:
    doubtful = _doubtful(by_scale[PAPER])
    parts = [
        f"# {_title(table)}\n",
        "Generated by `python scripts/make_tables.py`; not to be edited.\n",
        f"## Paper scale: {table.metric}\n",
        f"{LEGEND} {_expected(table)}\n",
        markdown.grid(make_grid(table, by_scale[PAPER], _marks(by_scale[PAPER], doubtful))),
        *([markdown.bullets(of_rows)] if of_rows else []),
    ]
    verdicts = [_verdict_line(result) for result in by_scale[PAPER] if result.verdict.kind != NOT_RUN]
    if verdicts:
        parts += ["### Verdicts\n", markdown.bullets(verdicts)]
    if claims:
        parts.append(claims)
    if curves:
        parts += ["### Beside the authors' curves\n", markdown.bullets(curves)]
    if doubtful:
        parts += ["### Reported numbers in doubt\n", markdown.bullets(_notes(doubtful))]
    disagreements = load_disagreements(table.name)
    if disagreements:
        parts += ["### Where sources disagree\n", markdown.bullets(disagreements)]
    for scale, cells in by_scale.items():
        parts += _shrunk(table, scale, cells) if scale != PAPER else []
    return "\n".join(parts)


def _shrunk(table: Table, scale: str, cells: Sequence[Result]) -> list[str]:
    """The section of a scale that is held against itself alone."""
    return [
        f"## {scale.capitalize()} scale: {table.metric}\n",
        f"{about(scale)['page']}: {SHRUNK_WARNING}\n",
        markdown.grid(make_grid(table, cells, {})),
        "### Who wins at which budget\n",
        f"{_ordering_text(table, cells)}\n",
        _ordering_table(table, scale, cells),
    ]


def _expected(table: Table) -> str:
    """Say how a cell is judged, and how many verdicts of a whole table would be wrong by chance."""
    cells = sum(cell.reported is not None for cell in table.cells) or len(table.cells)
    seeds = f"{len(table.seeds)} planned seeds (fewer: an early look)" if table.seeds else "all its seeds"
    return (
        f"A cell is judged by {seeds}, by rules of which each errs in at most 5 % of the cells "
        f"([how often](../verdicts.md)): were all {cells} cells true reproductions, {0.05 * cells:.1f} would be "
        "expected to be called better or worse by chance; were all just farther off than their margin, as many would "
        "be called reproduced."
    )


def _latex(table: Table, by_scale: dict[str, list[Result]], of_rows: Sequence[str]) -> str:
    doubtful = _doubtful(by_scale[PAPER])
    title = _title(table)
    return "\n".join(
        [
            "% Generated by scripts/make_tables.py. Needs \\usepackage{booktabs,graphicx}.",
            latex.grid(
                make_grid(table, by_scale[PAPER], _marks(by_scale[PAPER], doubtful)),
                f"{title}. Paper scale, {table.metric}; ours as mean, 95 % interval and number of seeds; * cited by "
                "the paper.",
                f"tab:{table.name}-paper",
                [*of_rows, *_notes(doubtful)],
            ),
            *(
                latex.grid(
                    make_grid(table, cells, {}),
                    f"{title}. {scale.capitalize()} scale, {table.metric}; not comparable with the paper.",
                    f"tab:{table.name}-{scale}",
                )
                for scale, cells in by_scale.items()
                if scale != PAPER
            ),
        ]
    )


def _average(table: Table, average: Average) -> str:
    """`Adan, average of the row: 84.3 in the paper, 84.01 here`."""
    printed = f"{average.reported.value} in the paper" if average.reported else "not in the paper"
    ours = f"{average.ours:.2f} here" if average.ours is not None else "not known here before every column is"
    return f"{table.row_labels.get(average.row, average.row)}, average of the row: {printed}, {ours}"


def _title(table: Table) -> str:
    """`Table 4: ...` for a table of the paper."""
    number = table.name.removeprefix("t")
    return f"Table {number}: {table.title}" if number.isdigit() else table.title


def _notes(doubtful: Sequence[Reported]) -> list[str]:
    return [f"[{index}] {number.id}: {number.note}" for index, number in enumerate(doubtful, 1)]


def _doubtful(cells: Sequence[Result]) -> list[Reported]:
    numbers = {result.reported.id: result.reported for result in cells if result.reported and result.reported.doubtful}
    return list(numbers.values())


def _marks(cells: Sequence[Result], doubtful: Sequence[Reported]) -> dict[str, str]:
    marks = {result.reported.id: "*" for result in cells if result.reported and result.reported.provenance == "cited"}
    for index, number in enumerate(doubtful, 1):
        marks[number.id] = f"{marks.get(number.id, '')} [{index}]"
    return marks


def _verdict_line(result: Result) -> str:
    cell = result.cell
    assumed = f". Assumes that {'; that '.join(result.verdict.assumptions)}" if result.verdict.assumptions else ""
    return f"{cell.exp} {cell.optim}, {budget_of(vars(cell))}: {result.verdict.text}{assumed}"


def _ordering_text(table: Table, cells: Sequence[Result]) -> str:
    made = [order for order in orders(table, cells, _direction(cells)) if order.pairs]
    if not made:
        return f"No setting has both {SUBJECT} and a baseline run at this scale yet."
    pairs, agreeing = sum(order.pairs for order in made), sum(order.agreeing for order in made)
    least = min(result.n for result in cells if result.mean is not None)
    seeds = "one seed per cell, so small gaps may be chance" if least == 1 else f"at least {least} seeds per cell"
    return (
        f"{SUBJECT} and a baseline have the paper's order here in {agreeing} of {pairs} pairs, over {len(made)} "
        f"setting{'s' * (len(made) > 1)} ({seeds})."
    )


def _ordering_table(table: Table, scale: str, cells: Sequence[Result]) -> str:
    rows = []
    for order in orders(table, cells, _direction(cells)):
        agreement = f"{order.agreeing} of {order.pairs}" if order.pairs else "-"
        best = (_best(table, winner) for winner in (order.best_reported, order.best_ours))
        rows.append([column_label(table, order.column), *best, agreement])
    header = ["setting", "best in the paper", f"best at {scale} scale", "pairs in the paper's order"]
    return markdown.table(header, rows)


def _best(table: Table, winner: Winner | None) -> str:
    """`Adan 80.7`, several names when they tie."""
    if winner is None:
        return NOT_RUN
    names = ", ".join(table.row_labels.get(name, name) for name in winner.names)
    return f"{names} {winner.value:.4g}"


def _direction(cells: Sequence[Result]) -> str:
    return next((result.reported.direction for result in cells if result.reported), "max")


def _index(filled: Sequence[tuple[Table, dict[str, list[Result]]]]) -> str:
    """Counts of verdicts at paper scale, and of cells run at the others, over all tables."""
    rows: list[list[Any]] = []
    shrunk = [f"run at {scale} scale" for scale in SHRUNK]
    for table, by_scale in filled:
        kinds = [result.verdict.kind for result in by_scale[PAPER] if not result.verdict.early]
        early = sum(result.verdict.early for result in by_scale[PAPER])
        rows.append(
            [
                f"[{table.name}]({table.name}.md)",
                table.title,
                str(len(table.cells)),
                *(str(kinds.count(kind)) for kind in KINDS),
                str(early),
                *(_run_at(by_scale.get(scale)) for scale in SHRUNK),
            ]
        )
    return "\n".join(
        [
            "# Tables\n",
            "Generated by `python scripts/make_tables.py`; not to be edited. Verdicts are at paper scale; the last "
            "columns count cells run at the smaller scales, which are not comparable with the paper.\n",
            markdown.table(["table", "title", "cells", *KINDS, EARLY_LOOK, *shrunk], rows),
        ]
    )


def _run_at(cells: Sequence[Result] | None) -> str:
    """`3 of 20`, or that the table has no such scale."""
    return ABSENT if cells is None else f"{sum(result.mean is not None for result in cells)} of {len(cells)}"


def _studies(names: Sequence[str], known: Sequence[dict[str, Any]]) -> str:
    """The verdicts of the studies by protocol, which need no extra."""
    if not names:
        return ""
    rows = []
    for name in names:
        loaded = load_study(name)
        for protocol in judge_study(loaded, known):
            judged = f"{len(protocol.judged)} of {len(protocol.games)}"
            rows.append([f"[{name}]({name}.md)", loaded.title, protocol.stage.name, judged, protocol.kind])
    header = ["study", "title", "protocol", "games judged", "its claim"]
    return f"\nStudies judge a claim of the paper over many seeds.\n\n{markdown.table(header, rows)}"


def _tunings() -> str:
    """Links to the pages of the tunings by a grid."""
    links = [f"[{name}](tune_{name}.md)" for name in tuning_names() if load_tuning(name).grids]
    return f"\nTunings choose settings that no source gives: {', '.join(links)}.\n" if links else ""
