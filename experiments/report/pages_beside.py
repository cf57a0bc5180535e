"""What is written beside the tables: claims, tunings, the fair comparison with times to target, imported results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.report import claims_page, fair_comparison, imported_page, profiles_page, study, tuning_page
from experiments.report.collect import Result
from experiments.schema import paths
from experiments.schema.tables import Table
from experiments.schema.tunings import load_tuning, tuning_names
from experiments.verdict.reported import Reported
from experiments.verdict.stated_claims import load_claims


def write_all(folder: Path, known: Sequence[dict[str, Any]], numbers: dict[str, Reported]) -> list[Path]:
    """Write every page that is no table; `folder` is that of the tables. Returns the files, figures among them."""
    tunings = [load_tuning(name) for name in tuning_names()]
    written = [_write_tuning(folder, tuning.name, known) for tuning in tunings if tuning.grids]
    written += [path for tuning in tunings if tuning.fresh_seeds for path in _write_fair(tuning.name, known)]
    written.append(_write_imported())
    if load_claims():
        written.append(_write_claims(known, numbers))
    return written


def draw_batch_sizes(table: Table, by_scale: dict[str, list[Result]]) -> list[Path]:
    """The figure of a table whose columns are batch sizes, at each scale with runs, where matplotlib is installed."""
    if "batch_size" not in table.columns or study.missing_packages():
        return []
    from experiments.report.batch_size_figure import batch_sizes

    stems = {scale: paths.RESULTS / "figures" / f"batch_sizes_{table.name}_{scale}" for scale in by_scale}
    return [path for scale, stem in stems.items() for path in batch_sizes(table, scale, by_scale[scale], stem)]


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
