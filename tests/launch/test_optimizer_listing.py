"""`python run.py --optimizers`: every fact about every optimizer, in a terminal's width."""

from __future__ import annotations

import re

import pytest

from experiments import optimizers
from experiments.launch import listing


@pytest.mark.parametrize("columns", [80, 140])
def test_every_fact_is_printed_within_the_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert listing.show_optimizers() == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    words = " ".join(text.split())
    for name in optimizers.names():
        info = optimizers.info(name)
        elementwise, captured = ("yes" if fact else "no" for fact in (info.elementwise, info.capturable))
        states = re.escape(f"{info.states:.3g}")
        row = rf"^{name} +{info.library} +{re.escape(info.version)} +{states} +{elementwise} +{captured} *$"
        assert re.search(row, text, re.MULTILINE), row
        assert info.version != "unknown"
        for fact in (info.paper, info.differences):
            assert fact and " ".join(fact.split()) in words


def test_costs_are_those_of_the_papers():
    states = {name: optimizers.info(name).states for name in optimizers.names()}
    assert {name for name, count in states.items() if count == 1} == {
        "adagrad",
        "lars",
        "lion",
        "muon",
        "rmsprop",
        "sgd",
    }
    assert states["adan"] == 4 and states["adamw"] == 2 and states["amsgrad"] == 3 and states["adafactor"] < 0.01
