"""Every cell of a table names a run that can be composed and the number that the paper printed for it."""

from __future__ import annotations

import pytest
from config_files import EXPERIMENTS, REPORTED, TABLES

from experiments.record.seal import choices
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.tables import load_table
from experiments.schema.typed import to_dict
from experiments.verdict.judge import judge
from experiments.verdict.reported import load_reported, reported_for

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


def test_what_is_printed_as_matched_of_mnli_is_held_against_the_accuracy_over_both_sets():
    """acc_test.py of sail-sg/Adan@2c65bea counts on from the mismatched set to the matched one."""
    numbers, table = load_reported(), load_table("t10")
    held = {cell.reported: reported_for(numbers, cell, "t10") for cell in table.cells}
    for id, value, metric in [
        ("T10-010", 84.9, "accuracy_both"),
        ("T10-019", 85.7, "accuracy_both"),
        ("T10-011", REPORTED["T10-011"]["value"], "accuracy_mismatched"),
    ]:
        assert (held[id].value, held[id].metric) == (value, metric)


def test_a_cell_is_judged_by_its_own_metric():
    cells, configs = load_table("t10").cells, compose(["table=t10", "scale=paper"])
    [(cell, config)] = [pair for pair in zip(cells, configs, strict=True) if pair[0].reported == "T10-019"]
    tree = to_dict(config)
    summary = {
        "accuracy_matched": {"last": 90.0, "best": 90.0, "reported": "last"},
        "accuracy_both": {"last": 85.0, "best": 85.0, "reported": "last"},
    }
    record = {"run": "one", "status": "finished", **choices(tree), "config_digest": config_digest(tree)}
    record |= {"summary": summary, "config": tree, "split": None}
    verdict = judge([record], cell, reported_for(load_reported(), cell, "t10"))
    assert verdict.mean == 85.0 and "accuracy_both 85.00 against 85.7 reported (T10-019)" in verdict.text
