"""A study from records to pages: `results/tables/<name>.md`, `.tex`, `.csv`, `results/figures/` and its page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.studies import load_study

EXTRA = ("rliable", "matplotlib")


def missing_packages() -> list[str]:
    """Packages of the extra `figures` that are not installed."""
    return [name for name in EXTRA if find_spec(name) is None]


def skipped(name: str) -> str:
    """Why nothing is written of study `name`; empty when it can be."""
    missing = missing_packages()
    if not missing:
        return ""
    return f"{name}: not written, its statistics and figures need {' and '.join(missing)}: pip install -e '.[figures]'"


def make_study(name: str, records: list[dict[str, Any]]) -> list[Path]:
    """Write everything of study `name` and return the files written. The same records give the same bytes.

    Raises UserError for records whose events are not those that were sealed; ImportError without the extra.
    """
    from experiments.report import study_csv, study_figures, study_page
    from experiments.report.study_results import collect

    result = collect(load_study(name), records)
    stem = Path(study_page.page_name(result)).stem
    figures = {}
    for protocol in result.protocols:
        base = paths.RESULTS / "figures" / f"{stem}_{protocol.stage.name}"
        drawn = study_figures.learning_curves(result, protocol, base)
        drawn += study_figures.over_games(result, protocol, base.with_name(f"{base.name}_over_games"))
        figures[protocol.stage.name] = drawn
    texts = {
        paths.RESULTS / "tables" / f"{name}.md": study_page.tables(result),
        paths.RESULTS / "tables" / f"{name}.tex": study_page.latex_tables(result),
        paths.RESULTS / "tables" / f"{name}.csv": study_csv.long(result, records),
        paths.RESULTS / study_page.page_name(result): study_page.page(result, figures),
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [*texts, *(path for drawn in figures.values() for path in drawn)]
