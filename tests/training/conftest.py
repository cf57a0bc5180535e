from __future__ import annotations

from pathlib import Path

import pytest
from small_run import SMALL

from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Create the run directory of the small run, with overrides, under a folder of its own."""
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))

    def create(folder: str, *overrides: str) -> Path:
        given = {override.split("=")[0] for override in overrides}
        (config,) = compose([*(text for text in SMALL if text.split("=")[0] not in given), *overrides])
        return RunDirectory.open_or_create(tmp_path / folder, config).path

    return create
