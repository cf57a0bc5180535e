from pathlib import Path

import examples
import pytest

from experiments.schema import paths


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of its own, with one reported number and one sourced spread."""
    folder = tmp_path / "results"
    monkeypatch.setattr(paths, "RESULTS", folder)
    examples.write_facts(folder, [examples.reported()], [examples.spread()])
    return folder
