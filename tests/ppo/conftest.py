from __future__ import annotations

from pathlib import Path

import pytest

from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose

# Reacher's episodes end by time after 50 steps, so that one rollout has both ends and goings on.
SMALL = [
    "exp=ppo_reacher",
    "ppo.rollout_steps=256",
    "ppo.passes=2",
    "schedule.epochs=3",
    "evaluation.every=2",
    "ppo.evaluation_episodes=2",
    "launch.threads=1",
]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Create the run directories of a small run of the given seeds, under a folder of its own."""
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))

    def create(folder: str, seeds: list[int], *overrides: str) -> list[Path]:
        given = {override.split("=")[0] for override in overrides}
        small = [text for text in SMALL if text.split("=")[0] not in given]
        configs = [compose([*small, *overrides, f"seed={seed}"])[0] for seed in seeds]
        return [RunDirectory.open_or_create(tmp_path / folder, config).path for config in configs]

    return create
