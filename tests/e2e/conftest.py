"""Real processes: `run.py` and the scripts, with runs and results in a folder of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.schema import paths


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folders = {"ADAN_RUNS": str(tmp_path / "runs"), "ADAN_RESULTS": str(tmp_path / "results")}
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return clean | folders | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def door(environment: dict[str, str], tmp_path: Path):
    """Start `run.py` from a folder that is not the repository's, and wait for it."""

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(paths.ROOT / "run.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)

    return start


@pytest.fixture
def script(environment: dict[str, str], tmp_path: Path):
    """Start one of `scripts/` and wait for it."""

    def start(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(paths.ROOT / "scripts" / name), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return start
