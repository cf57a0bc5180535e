"""Experiments of a family: what `extends:` takes over, the file that a value is said to stand in, and mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.schema import names
from experiments.schema.compose import resolve
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.schema.sources import read

FAMILY, OWN = "configs/exp/families/models.yaml", "configs/exp/model.yaml"
OF_RECIPE = ("recipes", "long", "settings", "evaluation", "crop_pct")
OF_OPTIMIZER = ("recipes", "long", "optimizers", "adan", "settings", "optim", "lr")
OF_BUDGET = ("recipes", "long", "optimizers", "adan", "budgets", 300, "schedule", "min_lr")
OF_MINI = ("mini", "optimizers", "adan", "settings", "ema_decay")


class Family:
    """The family `models`, which says all that the small experiment said but its title, and its only member."""

    def __init__(self, configs) -> None:
        self.configs = configs
        self.tree: dict[str, Any] = configs.experiment
        self.own: dict[str, Any] = {"extends": "models", "title": self.tree.pop("title")}

    def write(self) -> Path:
        read.cache_clear()
        folder = self.configs.path / "exp" / "families"
        folder.mkdir(exist_ok=True)
        (folder / "models.yaml").write_text(yaml.safe_dump(self.tree))
        self.configs.experiment = self.own
        return self.configs.write()

    def resolve(self, **choices: Any):
        return resolve({"exp": "model", "optim": "adan", **choices}, {}, self.write())


@pytest.fixture
def family(configs) -> Family:
    return Family(configs)


def put_at(tree: dict[Any, Any], path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


@pytest.mark.parametrize("optim", ["adan", "sgd"])
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_an_experiment_has_the_digest_that_it_has_without_a_family(configs, scale, optim):
    alone = resolve({"exp": "model", "optim": optim, "scale": scale}, {}, configs.write())
    taken_over = Family(configs).resolve(optim=optim, scale=scale)
    assert config_digest(taken_over) == config_digest(alone)
    assert (taken_over.title, taken_over.disagreements) == (alone.title, alone.disagreements)
    assert {key: fact["level"] for key, fact in taken_over.provenance.items()} == {
        key: fact["level"] for key, fact in alone.provenance.items()
    }


def test_mappings_merge_and_everything_else_is_replaced(family):
    family.tree["recipes"]["long"]["settings"]["data"] = {"mean": [0.1, 0.2], "std": [0.3]}
    family.tree["recipes"]["long"]["settings"]["augmentation"] = {"auto_augment": "rand-m9", "mixup": 0.8}
    family.own["recipes"] = {
        "long": {
            "settings": {"data": {"mean": [0.5]}, "augmentation": {"auto_augment": None}},
            "disagreements": ["of its own"],
        }
    }
    config = family.resolve(scale="paper")
    assert (config.data.mean, config.data.std) == ([0.5], [0.3])
    assert (config.augmentation.auto_augment, config.augmentation.mixup) == (None, 0.8)
    assert config.disagreements == ["of its own"]


def test_an_experiment_can_add_a_recipe_and_an_optimizer(family):
    family.own["recipes"] = {
        "long": {"optimizers": {"sgd": {"settings": {"optim": {"lr": 0.7}}}}},
        "short": {"batch_size": 8, "epochs": 3},
    }
    assert family.resolve(optim="sgd", scale="paper").optim["lr"] == 0.7
    assert family.resolve(recipe="short", scale="paper").epochs == 3
    assert family.resolve(scale="paper").epochs == 300


def test_disagreements_of_a_family_stand_after_those_of_the_recipe(family):
    family.tree["disagreements"] = ["of all recipes"]
    assert family.resolve().disagreements == ["README and arguments differ", "of all recipes"]
    assert family.resolve(recipe="steps").disagreements == ["of all recipes"]


def test_a_single_fact_for_all_is_the_default_beside_facts_for_keys(family):
    family.own["recipes"] = {"long": {"provenance": {"batch_size": {"level": "ours", "source": "a guess"}}}}
    provenance = family.resolve(scale="paper").provenance
    assert provenance["batch_size"] == {"level": "ours", "source": "a guess"}
    assert provenance["batch_per_device"]["source"].endswith("args.yaml")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("settings", "evaluation", "crop_pct"), ""),
        (OF_RECIPE, ": recipes.long"),
        (OF_OPTIMIZER, ": recipes.long.optimizers.adan"),
        (OF_BUDGET, ": recipes.long.optimizers.adan.budgets.300"),
        (("recipes", "long", "batch_size"), ": recipes.long"),
        (OF_MINI, ": mini.optimizers.adan"),
    ],
)
@pytest.mark.parametrize("stands_in", [FAMILY, OWN])
def test_an_error_names_the_file_in_which_the_value_stands(family, path, place, stands_in):
    put_at(family.tree, path, "wrong" if stands_in == FAMILY else 1)
    if stands_in == OWN:
        put_at(family.own, path, "wrong")
    with pytest.raises(UserError, match=re.escape(f"=wrong ({stands_in}{place})")):
        family.resolve()


def test_what_nobody_published_is_ours_of_the_file_in_which_it_stands(family):
    family.tree["mini"]["settings"] = {"ema_decay": 0.5}
    family.own["mini"] = {"settings": {"clip_grad_norm": 1.0}}
    provenance = family.resolve().provenance
    assert provenance["ema_decay"] == {"level": "ours", "source": f"{FAMILY}: mini"}
    assert provenance["schedule.epochs"] == {"level": "ours", "source": f"{FAMILY}: mini"}
    assert provenance["clip_grad_norm"] == {"level": "ours", "source": f"{OWN}: mini"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("extends",), "model", f"{OWN}: extends=model: no such family .* mean 'models'"),
        (("extends",), None, f"{OWN}: extends=None: no such family"),
        (("recipe",), {}, f"{OWN}: unknown key 'recipe'.* mean 'recipes'"),
        (("recipes", "longer"), {"epochs": 9}, f"{OWN}: recipes.longer: its family has no such recipe.* mean 'long'"),
        (("recipes", "long", "setings"), {}, f"{OWN}: recipes.long: unknown key 'setings'.* mean 'settings'"),
        (
            ("recipes", "long", "optimizers", "adam"),
            {"budgets": {}},
            f"{OWN}: recipes.long.optimizers.adam: its family has no such optimizer.* mean 'adan'",
        ),
        (("mini", "recipes"), {"step": {}}, f"{OWN}: mini.recipes.step: .*no such recipe.* mean 'steps'"),
    ],
)
def test_a_key_that_the_family_does_not_know_is_refused_with_the_nearest(family, path, value, message):
    put_at(family.own, path, value)
    with pytest.raises(UserError, match=message):
        family.resolve()


def test_an_unknown_key_of_the_family_is_its_own_mistake(family):
    family.tree["recipes"]["long"]["setings"] = {}
    with pytest.raises(UserError, match=f"^{FAMILY}: recipes.long: unknown key 'setings'"):
        family.resolve()


def test_a_family_extends_nothing(family):
    family.tree["extends"] = "models"
    with pytest.raises(UserError, match=f"^{FAMILY}: extends=models: a family extends nothing"):
        family.resolve()


def test_a_family_is_no_experiment(family):
    assert names.choices("exp", family.write()) == ["model"]
    for exp in ("models", "families/models"):
        with pytest.raises(UserError, match=f"exp={exp} .*no such experiment"):
            resolve({"exp": exp}, {}, family.write())
