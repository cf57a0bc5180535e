"""While a run goes, each evaluation is set beside the authors' curve at the same epoch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from small_run import SMALL

from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.schema.compose import compose

CURVE = "vit_small_setting_ii_300ep_adan"


def test_every_evaluation_is_set_beside_the_authors_curve(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))
    (config,) = compose(SMALL)
    directory = RunDirectory.open_or_create(tmp_path / "runs", replace(config, curve=CURVE))
    command = [sys.executable, "-m", "experiments.launch.worker", str(directory.path)]
    answer = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    lines = [line for line in answer.stdout.splitlines() if "authors" in line]
    assert len(lines) == 3
    assert "epoch 1:" in lines[0] and "0.08" in lines[0], "the authors' first epoch ended at 0.076 %"
