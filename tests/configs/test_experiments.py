"""What every experiment's file must say: budgets, optimizers, and the source of every value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from config_files import DATA, EXPERIMENTS, OPTIMIZERS, ROOT

from experiments.schema.budget import budget_of
from experiments.schema.compose import compose

LEVELS = {"released_log", "released_arguments", "readme", "paper", "cited", "inferred", "ours"}
IMAGENET_EXPERIMENTS = {
    *("resnet18", "resnet50", "resnet101", "convnext_tiny", "convnext_small"),
    *("vit_small", "vit_base", "swin_tiny", "swin_small", "swin_base"),
}
ENTRIES = [
    (name, recipe, optimizer)
    for name, tree in EXPERIMENTS.items()
    for recipe, section in tree["recipes"].items()
    for optimizer in section["optimizers"]
]


def facts(tree: Any) -> Iterator[dict[str, str]]:
    """Every `{level, source}` below `tree`."""
    if isinstance(tree, dict):
        if "level" in tree:
            yield tree
        for value in tree.values():
            yield from facts(value)


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_all_ten_experiments_of_the_imagenet_tables_are_here():
    assert set(EXPERIMENTS) >= IMAGENET_EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_names_data_recipe_and_budget_that_exist(name):
    tree = EXPERIMENTS[name]
    assert tree["data"] in DATA and tree["mini"]["data"] in DATA
    assert tree["default_recipe"] in tree["recipes"]
    for section in tree["recipes"].values():
        assert budget_of(section).count in section["budgets"]
        for optimizer, entry in section["optimizers"].items():
            assert optimizer in OPTIMIZERS
            assert set(entry.get("budgets", {})) <= set(section["budgets"])
            assert set(entry.get("curves", {})) <= set(section["budgets"])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_fact_has_a_legal_level_and_a_source(name):
    found = list(facts(EXPERIMENTS[name]))
    assert found
    for fact in found:
        assert set(fact) == {"level", "source"}
        assert fact["level"] in LEVELS
        assert len(fact["source"]) > 5


@pytest.mark.parametrize(("name", "recipe", "optimizer"), ENTRIES)
def test_every_value_of_a_composed_recipe_has_a_source(name, recipe, optimizer):
    section = EXPERIMENTS[name]["recipes"][recipe]
    entry = section["optimizers"][optimizer]
    assert "default" in entry["provenance"]
    for count in section["budgets"]:
        length = f"{budget_of(section).unit}={count}"
        (config,) = compose([f"exp={name}", f"recipe={recipe}", f"optim={optimizer}", length, "scale=paper"])
        budget = {key: value for key, value in entry.get("budgets", {}).get(count, {}).items() if key != "provenance"}
        for tree in (section["settings"], entry["settings"], budget):
            for key in leaves(tree):
                assert config.provenance[key]["level"] in LEVELS, key


@pytest.mark.parametrize(("name", "recipe", "optimizer"), ENTRIES)
def test_every_optimizer_has_a_rate_of_its_own_at_mini_scale(name, recipe, optimizer):
    mini = EXPERIMENTS[name]["mini"]
    own = mini.get("recipes", {}).get(recipe, {}).get("optimizers", {}).get(optimizer)
    chosen = own or mini["optimizers"][optimizer]
    assert chosen["settings"]["optim"]["lr"] > 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_optimizers_of_a_table_run_the_same_batch_and_epochs_at_mini_scale(name):
    """A mini run is judged against the other optimizers at the same setting: there must be such a setting."""
    for recipe, section in EXPERIMENTS[name]["recipes"].items():
        for count in section["budgets"]:
            base = [f"exp={name}", f"recipe={recipe}", f"{budget_of(section).unit}={count}", "scale=mini"]
            configs = [compose([*base, f"optim={optimizer}"])[0] for optimizer in section["optimizers"]]
            settings = {
                (
                    *(c.global_batch_size, c.batch_per_device, c.total_epochs, c.schedule.name, c.ema_decay),
                    *(c.schedule.per_update, c.schedule.warmup_prefix, str(c.augmentation), str(c.loss)),
                )
                for c in configs
            }
            assert len(settings) == 1


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_file_is_flat_and_complete(name):
    tree = OPTIMIZERS[name]
    assert tree["name"] == name
    assert {"lr", "weight_decay", "decay_bias_and_norm"} <= set(tree)
    assert tree["decay_bias_and_norm"] is False
    assert None not in tree.values()


def test_experiments_use_only_the_keys_of_the_optimizer_files():
    for name, recipe, optimizer in ENTRIES:
        entry = EXPERIMENTS[name]["recipes"][recipe]["optimizers"][optimizer]
        for settings in (entry["settings"], *entry.get("budgets", {}).values()):
            assert set(settings.get("optim", {})) <= set(OPTIMIZERS[optimizer]), (name, recipe, optimizer)


def test_named_curves_exist():
    for name, recipe, optimizer in ENTRIES:
        entry = EXPERIMENTS[name]["recipes"][recipe]["optimizers"][optimizer]
        for curve in entry.get("curves", {}).values():
            assert (ROOT / "results" / "curves" / f"{curve}.csv").is_file()
