"""Small real runs: scikit-learn's digits, a tiny vision transformer, two epochs and a cool-down of 11 updates each."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose

SMALL = ["exp=vit_small", "data=digits", "batch_size=16384", "schedule.epochs=2", "launch.threads=1"]
UPDATES = 33


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Create the run directory of the small run, with overrides, under a folder of its own."""
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))

    def create(folder: str, *overrides: str) -> Path:
        given = {override.split("=")[0] for override in overrides}
        (config,) = compose([*(text for text in SMALL if text.split("=")[0] not in given), *overrides])
        return RunDirectory.open_or_create(tmp_path / folder, config).path

    return create
