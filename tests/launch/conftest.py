"""Runs and results in a folder of the test, also for the processes that it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.schema import paths


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in (("RUNS", tmp_path / "runs"), ("RESULTS", tmp_path / "results")):
        monkeypatch.setattr(paths, name, folder)
        monkeypatch.setenv(f"ADAN_{name}", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path
