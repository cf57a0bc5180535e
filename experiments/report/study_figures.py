"""The figures of a study: learning curves by game, and what they say over all games. Needs the extra `figures`.

The same records and library versions give the same bytes: no date, no version and no random identifier is written.
An optimizer has the colour, mark and dash of `identity`, here and everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from experiments.report.identity import identity
from experiments.report.study_results import ProtocolResult, StudyResult, arms
from experiments.verdict.across_games import Band
from experiments.verdict.arm_summary import Estimate
from experiments.verdict.claims import Game

SETTINGS: Any = [
    "default",  # whatever the user's matplotlibrc says
    {
        "svg.hashsalt": "adan",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "0.9",
        "lines.markersize": 3.5,
        "lines.linewidth": 1.4,
        "legend.frameon": False,
    },
]
COLUMNS = 4
PANEL = (2.9, 2.4)  # inches
LEGEND_WIDTH = 4.4
STEPS_LABEL = "environment steps (millions)"


def learning_curves(result: StudyResult, protocol: ProtocolResult, stem: Path) -> list[Path]:
    """Write a panel for each game with runs: mean evaluation return over seeds with its 95 % band, by environment
    steps. Returns the files written, `<stem>.png` and `<stem>.svg`; none without runs."""
    games = [game for game in protocol.protocol.games if any(protocol.summary(arm) for arm in arms(game))]
    if not games:
        return []
    with style.context(SETTINGS):
        figure, panels = _panels(len(games))
        for panel, game in zip(panels, games, strict=True):
            _game(panel, result, protocol, game)
        for index, panel in enumerate(panels):
            if index + COLUMNS >= len(games):
                panel.set_xlabel(STEPS_LABEL)
            if index % COLUMNS == 0:
                panel.set_ylabel("evaluation return")
        lines = {line.get_label(): line for panel in panels for line in panel.get_lines()}
        figure.legend(handles=list(lines.values()), loc="outside upper center", ncols=len(lines))
        return save(figure, stem)


def over_games(result: StudyResult, protocol: ProtocolResult, stem: Path) -> list[Path]:
    """Write the performance profile and the sample-efficiency curve over all games; nothing where there are too few."""
    across = protocol.across
    if across is None:
        return []
    with style.context(SETTINGS):
        figure, (profile, efficiency) = _panels(2)
        for optim in protocol.stage.optims:
            label, look = result.label(optim), identity(optim).matplotlib
            line = {**look, "marker": ""}
            _band(profile, across.thresholds, across.profile[optim], line, label)
            _band(efficiency, _millions(across.steps), across.efficiency[optim], look, label)
        profile.set_xlabel("normalised return")
        profile.set_ylabel("share of runs above")
        profile.set_ylim(-0.03, 1.03)
        efficiency.set_xlabel(STEPS_LABEL)
        efficiency.set_ylabel("normalised return (IQM)")
        profile.set_title("performance profile")
        efficiency.set_title("sample efficiency")
        profile.legend(loc="best")
        return save(figure, stem)


def _game(panel: Any, result: StudyResult, protocol: ProtocolResult, game: Game) -> None:
    for arm in arms(game):
        look = identity(arm.optim).matplotlib
        summary = protocol.summary(arm)
        if summary is not None:
            label = result.label(arm.optim)
            _estimates(panel, _millions(summary.steps), summary.curve, look, label)
    if game.name in result.random_policy:
        panel.axhline(
            result.random_policy[game.name], color="0.45", linewidth=0.9, linestyle=":", label="random policy"
        )
    counts = [arm.n for arm in arms(game)]
    seeds = f"n = {counts[0]}" if len(set(counts)) == 1 else f"n = {counts[0]}, {counts[1]}"
    panel.set_title(f"{game.name} ({seeds})", fontsize=9)
    panel.set_xlim(left=0)


def _estimates(panel: Any, x: Sequence[float], curve: Sequence[Estimate], look: dict[str, Any], label: str) -> None:
    panel.plot(x, [point.value for point in curve], label=label, **look)
    ends = [point.interval for point in curve]
    if all(ends):
        low, high = zip(*((end.low, end.high) for end in ends if end), strict=True)
        panel.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)


def _band(panel: Any, x: Any, band: Band, look: dict[str, Any], label: str) -> None:
    panel.plot(x, band.values, label=label, **look)
    panel.fill_between(x, band.low, band.high, color=look["color"], alpha=0.18, linewidth=0)


def _panels(count: int) -> tuple[Figure, list[Any]]:
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    width, height = PANEL
    figure = Figure(figsize=(max(width * columns, LEGEND_WIDTH), height * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in grid[count:]:
        unused.remove()
    return figure, grid[:count]


def _millions(steps: Sequence[int]) -> list[float]:
    return [step / 1e6 for step in steps]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.png` and `<stem>.svg` without dates or versions, and return them."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    figure.savefig(png, dpi=150, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return [png, svg]
