import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "verdict"))

import examples

from experiments.report import pages_beside
from experiments.report import tables as report_tables
from experiments.schema import paths
from experiments.schema.tables import Cell, Table
from experiments.verdict import cells, today


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of its own with four reported numbers, and a Table 4 of those four cells."""
    folder = tmp_path / "results"
    monkeypatch.setattr(paths, "RESULTS", folder)
    suspect = "SUSPECT: one_run & 100 % too high"
    numbers = [
        examples.reported(id="T4-001", optimizer="AdamW", value=78.3),
        examples.reported(id="T4-002", value=79.6),
        examples.reported(id="T4-003", optimizer="AdamW", value=79.9, provenance="cited"),
        examples.reported(id="T4-004", value=80.7, note=suspect),
    ]
    examples.write_facts(folder, numbers, [examples.spread()], disagreements=["T4 ViT-S 300: 80.7 or 80.9"])
    made = [
        Cell("vit_small", optim, epochs, "setting_2", None, f"T4-00{index}")
        for index, (optim, epochs) in enumerate([("adamw", 150), ("adan", 150), ("adamw", 300), ("adan", 300)], 1)
    ]
    labels = {"adamw": "AdamW", "adan": "Adan"}
    table = Table("t4", "ViT_S top-1", "top1", "optim", ["exp", "epochs"], made, {"vit_small": "ViT-S"}, labels)
    monkeypatch.setattr(report_tables, "study_names", lambda: [])
    for module in (report_tables, pages_beside):
        monkeypatch.setattr(module, "tuning_names", lambda: [])
    for module in (report_tables, cells):
        monkeypatch.setattr(module, "table_names", lambda: ["t4"])
        monkeypatch.setattr(module, "load_table", {"t4": table}.__getitem__)
    return folder


@pytest.fixture(autouse=True)
def made_up_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up records of `examples` count as of today, unless they say that they are old."""
    monkeypatch.setattr(today, "_composed", lambda arguments, configs: examples.Today())
