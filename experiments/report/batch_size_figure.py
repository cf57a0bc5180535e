"""The batch-size figure of a table whose columns are batch sizes (Table 7): printed and measured. Needs `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from experiments.report.collect import Result
from experiments.report.identity import identity
from experiments.report.study_figures import SETTINGS, save
from experiments.schema.scales import PAPER
from experiments.schema.tables import Table

SIZE = (5.2, 3.2)  # inches


def batch_sizes(table: Table, scale: str, results: Sequence[Result], stem: Path) -> list[Path]:
    """Write the metric against the nominal batch size, a line for each optimizer: what the paper prints hollow and
    dotted (at paper scale alone), what was measured solid. Returns the files, `<stem>.png` and `<stem>.svg`; none
    without runs."""
    if not any(result.mean is not None for result in results):
        return []
    with style.context(SETTINGS):
        figure = Figure(figsize=SIZE, layout="constrained")
        panel = figure.subplots()
        for optim in dict.fromkeys(result.cell.optim for result in results):
            own = [result for result in results if result.cell.optim == optim]
            look, label = identity(optim).matplotlib, table.row_labels.get(optim, optim)
            measured = [(one.cell.batch_size, one.mean) for one in own if one.mean is not None]
            printed = [(one.cell.batch_size, one.reported.value) for one in own if one.reported and scale == PAPER]
            if measured:
                panel.plot(*zip(*measured, strict=True), label=f"{label}, measured", **look)
            if printed:
                hollow = {**look, "linestyle": ":", "fillstyle": "none"}
                panel.plot(*zip(*printed, strict=True), label=f"{label}, printed", **hollow)
        panel.set_xscale("log", base=2)
        panel.set_xlabel("batch size")
        panel.set_ylabel(table.metric)
        said = "" if scale == PAPER else f"\n{scale} scale: not the paper's experiment"
        panel.set_title(f"{table.title}{said}", fontsize=8)
        panel.legend(loc="best")
        return save(figure, stem)
