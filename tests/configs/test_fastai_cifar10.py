"""fast.ai's CIFAR-10 table: both budgets with the updates of its schedule, and what each number was measured with."""

from __future__ import annotations

import numpy as np
import pytest
from config_files import REPORTED, TABLES

from experiments.optimizers.schedules import momentum_of_update, rate_of_update
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.epochs import of_run
from experiments.schema.tables import load_table

CELLS = TABLES["fastai_cifar10"]["cells"]
PHASES = {30: (13.875, 13.875, 2.25), 18: (8.325, 8.325, 1.35)}  # epochs, of which each has 391 updates


def paper(**choices):
    (config,) = compose(["exp=cifar10_wrn22", "scale=paper", *(f"{key}={value}" for key, value in choices.items())])
    check(config)
    return config


@pytest.mark.parametrize("optim", ["adamw", "adam", "amsgrad", "amsgradw"])
@pytest.mark.parametrize("epochs", PHASES)
def test_the_recipe_moves_every_update_of_both_budgets_along_three_straight_lines(epochs, optim):
    config = paper(optim=optim, epochs=epochs)
    ends = np.cumsum([0, *PHASES[epochs]]) * 391
    updates = np.arange(epochs * 391)  # j of sgugger's phases counts from 0
    peak = config.optim["lr"]
    rates = np.interp(updates, ends, [peak / 10, peak, peak / 10, peak / 1000])
    momenta = np.interp(updates, ends, [0.95, 0.85, 0.95, 0.95])
    run = of_run(config)
    assert run.total_updates == len(updates)
    assert [rate_of_update(config, run, int(j) + 1) for j in updates] == pytest.approx(rates, abs=3e-4 * peak)
    assert [momentum_of_update(config, run, int(j) + 1) for j in updates] == pytest.approx(momenta, abs=3e-5)


def test_18_epochs_are_judged_by_the_mean_over_an_image_and_four_copies_and_30_by_the_image():
    short, long = paper(optim="adamw", epochs=18), paper(optim="adamw", epochs=30)
    assert (short.evaluation.augmented_copies, long.evaluation.augmented_copies) == (4, 0)
    assert "augmented_top1" in short.metrics and "augmented_top1" not in long.metrics
    for cell in load_table("fastai_cifar10").cells:
        assert cell.metric == ("augmented_top1" if cell.epochs == 18 else None)
        assert (cell.metric or "top1") in paper(optim=cell.optim, epochs=cell.epochs, recipe=cell.recipe).metrics


def test_the_published_means_of_five_are_tied_to_their_cells_and_to_five_seeds():
    numbers = {
        (cell["optim"], cell["epochs"]): REPORTED[cell["reported"]]["value"] for cell in CELLS if "reported" in cell
    }
    assert numbers == {
        ("adamw", 30): 94.34,
        ("amsgradw", 30): 93.69,
        ("adam", 30): 93.94,
        ("amsgrad", 30): 93.36,
        ("adamw", 18): 93.98,
    }
    assert load_table("fastai_cifar10").seeds == [0, 1, 2, 3, 4]


def test_bf16_differs_in_the_precision_and_stands_beside_no_number():
    for cell in (cell for cell in CELLS if cell["recipe"] == "one_cycle_bf16"):
        assert "reported" not in cell
        ours, published = (paper(optim=cell["optim"], recipe=recipe) for recipe in ("one_cycle_bf16", "one_cycle"))
        assert (ours.precision, ours.provenance["precision"]["level"]) == ("bf16", "ours")
        ours.precision, ours.recipe = published.precision, published.recipe
        assert config_digest(ours) == config_digest(published)
