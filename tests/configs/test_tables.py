"""Every cell of a table names a run that can be composed and the number that the paper printed for it."""

from __future__ import annotations

import pytest
from config_files import EXPERIMENTS, REPORTED, TABLES

from experiments.schema.check import check
from experiments.schema.compose import compose

CELLS = {"t2": 44, "t3": 10, "t4": 20, "t7": 12, "t8": 27}
MODELS = {
    **{"resnet18": "ResNet-18", "resnet50": "ResNet-50", "resnet101": "ResNet-101"},
    **{"convnext_tiny": "ConvNeXt-T", "convnext_small": "ConvNeXt-S", "vit_small": "ViT-S", "vit_base": "ViT-B"},
    **{"swin_tiny": "Swin-T", "swin_small": "Swin-S", "swin_base": "Swin-B"},
    **{f"ptb_lstm_{layers}": f"{layers}-layer LSTM (AWD-LSTM code)" for layers in (1, 2, 3)},
}
OPTIMIZERS = {"sgd-m": "sgd"}
SETTINGS = {"setting_1": "I", "setting_2": "II"}


@pytest.mark.parametrize("name", CELLS)
def test_a_table_holds_every_reported_number_once(name):
    ids = [cell["reported"] for cell in TABLES[name]["cells"]]
    assert len(ids) == CELLS[name]
    assert sorted(ids) == sorted(key for key, record in REPORTED.items() if record["table"] == name.upper())


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_the_run_that_its_reported_number_describes(name):
    for cell in TABLES[name]["cells"]:
        record = REPORTED[cell["reported"]]
        recipe = EXPERIMENTS[cell["exp"]]["recipes"][cell["recipe"]]
        assert MODELS[cell["exp"]] == record["model"]
        assert cell["optim"] == OPTIMIZERS.get(record["optimizer"].lower(), record["optimizer"].lower())
        assert cell["optim"] in recipe["optimizers"]
        assert cell["epochs"] == record["budget"]["epochs"]
        assert cell["epochs"] in recipe["budgets"]
        assert name in recipe["tables"]
        assert record["metric"] == TABLES[name]["metric"]
        if cell["recipe"] in SETTINGS:
            assert SETTINGS[cell["recipe"]] == record["setting"]


@pytest.mark.parametrize("scale", ["paper", "mini"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_composes_and_passes_all_checks(name, scale):
    configs = compose([f"table={name}", f"scale={scale}"])
    assert len(configs) == CELLS[name]
    for cell, config in zip(TABLES[name]["cells"], configs, strict=True):
        check(config)
        assert (config.exp, config.optim["name"], config.epochs) == (cell["exp"], cell["optim"], cell["epochs"])
        stated = REPORTED[cell["reported"]].get("batch_size")
        assert stated is None or config.batch_size == stated
        if scale == "mini":
            assert config.global_batch_size <= 256 and config.total_epochs <= 21
            milestones = config.schedule.milestones
            assert milestones == sorted(set(milestones)) and all(0 < m < config.schedule.epochs for m in milestones)


def test_table_7_scales_the_released_rate_by_the_square_root():
    rates = {config.batch_size: config.optim["lr"] for config in compose(["table=t7", "optim=adan", "scale=paper"])}
    assert rates[4096] == 0.02121
    assert rates[2048] == pytest.approx(0.015, rel=1e-3)
    for size, rate in rates.items():
        assert rate == pytest.approx(0.02121 * (size / 4096) ** 0.5)


def test_labels_name_every_row_and_column():
    for table in TABLES.values():
        for cell in table["cells"]:
            assert cell[table["rows"]] in table["row_labels"]
            assert cell[table["columns"][0]] in table["column_labels"]
