"""While a run goes, each evaluation is set beside the authors' curve at the same epoch."""

from __future__ import annotations

from dataclasses import replace

from killing import train_in_child
from small_run import SMALL

from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose

CURVE = "vit_small_setting_ii_300ep_adan"


def test_every_evaluation_is_set_beside_the_authors_curve(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))
    (config,) = compose(SMALL)
    directory = RunDirectory.open_or_create(tmp_path / "runs", replace(config, curve=CURVE))
    assert train_in_child(directory.path) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if "authors" in line]
    assert len(lines) == 3
    assert "epoch 1:" in lines[0] and "0.08" in lines[0], "the authors' first epoch ended at 0.076 %"
