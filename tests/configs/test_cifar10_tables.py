"""AdaBelief's CIFAR-10 table: every cell is the run that the name of its released curve describes."""

from __future__ import annotations

import json
import re

import pytest
from config_files import REPORTED, TABLES

from experiments.launch.dispatch import dispatch
from experiments.optimizers.schedules import rates
from experiments.record.seal import choices
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.tables import load_table
from experiments.schema.typed import to_dict
from experiments.verdict.curves import load_curve, on_track
from experiments.verdict.judge import judge
from experiments.verdict.reported import load_reported, reported_for

MODELS = {"cifar10_vgg11": "VGG11", "cifar10_resnet34": "ResNet34", "cifar10_densenet121": "DenseNet121"}
PARAMETERS = {"cifar10_vgg11": 9_750_922, "cifar10_resnet34": 21_282_122, "cifar10_densenet121": 6_956_298}
CELLS = TABLES["cifar10"]["cells"]
PUBLISHED = [cell for cell in CELLS if cell["recipe"] == "adabelief"]
RELEASED = [cell for cell in CELLS if "reported" in cell]
# Names in the file of a curve, such as sgd-lr0.1-momentum0.9-wdecay0.0005, and those of our hyper-parameters.
IN_NAMES = {"momentum": "momentum", "eps": "eps", "final_lr": "final_lr", "gamma": "gamma", "wdecay": "weight_decay"}


def paper(cell: dict) -> RunConfig:
    keys = ("exp", "optim", "epochs", "recipe")
    (config,) = compose([*(f"{key}={cell[key]}" for key in keys), "scale=paper"])
    return config


def name(cell: dict) -> str:
    return f"{cell['exp']}-{cell['optim']}"


def test_the_last_epochs_of_all_27_curves_are_cells():
    curves = [id for id, record in REPORTED.items() if record["table"] == "ADABELIEF-CIFAR10-CURVES"]
    last = [id for id in curves if REPORTED[id]["metric"] == "top1 (last epoch)"]
    assert len(last) == 27 and sorted(cell["reported"] for cell in RELEASED) == sorted(last)
    assert {cell["optim"] for cell in PUBLISHED if "reported" not in cell} == {"adan", "msvag"}


@pytest.mark.parametrize("cell", RELEASED, ids=name)
def test_a_cell_has_the_settings_that_the_name_of_its_curve_says(cell):
    config, record = paper(cell), REPORTED[cell["reported"]]
    stated = record["setting"]
    assert record["model"] == MODELS[cell["exp"]]
    assert record["optimizer"] == ("msvag" if cell["optim"] == "msvag_adabelief" else cell["optim"])
    assert f"-{record['optimizer']}-lr{config.optim['lr']:g}-" in stated
    for word, key in IN_NAMES.items():
        found = re.search(rf"-{word}([\d.]+(?:e-\d+)?)", stated)
        # Fromage has no decay, and it and M-SVAG no eps: main.py puts them into the name and hands them to nobody.
        if found and not (cell["optim"] == "fromage" or (word == "eps" and cell["optim"] == "msvag_adabelief")):
            assert float(found[1]) == config.optim[key], word
    if "betas" in config.optim:
        assert "-betas0.9-0.999-" in stated and config.optim["betas"] == [0.9, 0.999]
    assert config.optim["decay_bias_and_norm"]


@pytest.mark.parametrize("cell", RELEASED, ids=name)
def test_a_cell_is_set_beside_its_own_curve_which_ends_at_the_reported_number(cell):
    config = paper(cell)
    curve = load_curve(config.curve)
    assert curve.x == tuple(range(config.total_epochs))
    assert round(curve.columns["test_top1"][-1], 2) == REPORTED[cell["reported"]]["value"]
    assert "on track" in on_track(config.curve, 99, {"top1": curve.columns["test_top1"][99]})


@pytest.mark.parametrize("cell", PUBLISHED, ids=name)
def test_every_cell_runs_200_epochs_of_391_updates_and_drops_the_rate_once(cell):
    config = paper(cell)
    check(config)
    assert (config.batch_size, config.total_epochs, config.drop_last) == (128, 200, False)
    assert (config.precision, config.clip_grad_norm, config.loss.label_smoothing) == ("fp32", None, 0.0)
    assert config.data.std == [0.2023, 0.1994, 0.2010]  # not the deviation of the pixels
    lr = config.optim["lr"]
    assert rates(config.schedule, lr) == pytest.approx([lr] * 150 + [lr / 10] * 50)


def test_a_cell_in_bf16_differs_in_the_precision_and_stands_beside_no_number_and_no_curve():
    ours = [cell for cell in CELLS if cell["recipe"] == "adabelief_bf16"]
    assert len(ours) == len(PUBLISHED) == 33
    for cell in ours:
        config, published = paper(cell), paper({**cell, "recipe": "adabelief"})
        assert "reported" not in cell and config.curve is None
        assert (config.precision, config.provenance["precision"]["level"]) == ("bf16", "ours")
        config.precision, config.recipe = published.precision, published.recipe
        assert config_digest(config) == config_digest(published)


@pytest.mark.parametrize("exp", PARAMETERS)
def test_the_plan_of_a_network(exp, capsys):
    words = [f"exp={exp}", "optim=adabelief", "scale=paper", "launch=plan", "launch.format=json"]
    assert dispatch(compose(words)) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["n_parameters"] == PARAMETERS[exp]
    assert (plan["updates_per_epoch"], plan["total_updates"]) == (391, 78_200)
    assert plan["total_samples"] == 200 * 50_000


def test_a_cell_is_judged_by_its_last_epoch_and_not_by_its_best():
    cells = load_table("cifar10").cells
    [cell] = [cell for cell in cells if cell.reported == "ADABELIEF-CIFAR10-CURVES-015"]  # DenseNet-121 with SGD
    (config,) = compose([*cell.arguments("paper")])
    tree = to_dict(config)
    summary = {
        "top1": {"last": 92.3, "best": 94.5, "reported": "last"},
        "top1_best": {"last": 92.3, "best": 94.5, "reported": "best"},
    }
    record = {"run": "one", "status": "finished", **choices(tree), "config_digest": config_digest(tree)}
    record |= {"summary": summary, "config": tree, "split": None}
    verdict = judge([record], cell, reported_for(load_reported(), cell, "cifar10"))
    assert verdict.mean == 92.3 and "against 92.34 reported" in verdict.text
