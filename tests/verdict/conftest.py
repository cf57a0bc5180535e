from pathlib import Path

import examples
import pytest

from experiments.schema import paths
from experiments.verdict import today


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of its own, with one reported number and one sourced spread."""
    folder = tmp_path / "results"
    monkeypatch.setattr(paths, "RESULTS", folder)
    examples.write_facts(folder, [examples.reported()], [examples.spread()])
    return folder


@pytest.fixture(autouse=True)
def made_up_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of `examples` and `ppo_records` are made up, with digests that no recipe composes to: they count as
    of today, unless they say that they are old."""
    monkeypatch.setattr(today, "_composed", lambda arguments, configs: examples.Today())
