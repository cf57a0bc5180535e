"""The response of every optimizer over learning rates: how much tuning does it forgive? Needs the extra `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from experiments.report.identity import identity
from experiments.report.study_figures import SETTINGS, save
from experiments.verdict.equal_tuning import Arm

SIZE = (5.2, 3.2)  # inches


def response(arms: Sequence[Arm], title: str, stem: Path) -> list[Path]:
    """Write the value of every trial against its learning rate, a line for each optimizer, the chosen one ringed and
    the plateau drawn thick: `<stem>.png` and `<stem>.svg`. Nothing where no trial has a value."""
    drawn = [arm for arm in arms if arm.response()]
    if not drawn:
        return []
    with style.context(SETTINGS):
        figure = Figure(figsize=SIZE, layout="constrained")
        panel = figure.subplots()
        for arm in drawn:
            look = identity(arm.candidate.optim).matplotlib
            rates, values = zip(*arm.response(), strict=True)
            panel.plot(rates, values, label=arm.candidate.optim, **look)
            plateau = arm.plateau()
            if plateau is not None and arm.chosen is not None and arm.chosen.value is not None:
                on_it = [(rate, value) for rate, value in arm.response() if plateau.low <= rate <= plateau.high]
                panel.plot(*zip(*on_it, strict=True), color=look["color"], linewidth=4, alpha=0.35)
                rate = arm.chosen.settings["optim.lr"]
                panel.plot(rate, arm.chosen.value, marker="o", markersize=9, fillstyle="none", color=look["color"])
        panel.set_xscale("log")
        panel.set_xlabel("learning rate")
        panel.set_ylabel(drawn[0].trial_metric)
        panel.set_title(title, fontsize=9)
        panel.legend(loc="best")
        return save(figure, stem)
