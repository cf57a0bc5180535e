"""The file of an experiment in `configs/exp`: its sections, the recipe that was chosen in it, its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.schema.budget import UNITS, Budget, budget_of
from experiments.schema.errors import UserError, suggestion
from experiments.schema.typed import Tree

# What the sections of an experiment's file must and may hold.
REQUIRED = {
    "experiment": {"title", "task", "data", "default_recipe", "recipes"},
    "recipe": {"batch_size"},
    "optimizer": set(),
    "variant": {"data", "factors"},
}
OPTIONAL = {
    "experiment": {"settings", "mini", "provenance", "recipe_key"},
    "recipe": {
        *UNITS,
        *("tables", "description", "lr_scaling", "settings", "budgets", "provenance", "optimizers", "disagreements"),
    },
    "optimizer": {"settings", "budgets", "curves", "provenance", "disagreements"},
    "variant": {"reason", "settings", "optimizers", "recipes"},
}


@dataclass(frozen=True)
class Experiment:
    """The file of one experiment, with the recipe that was chosen in it."""

    name: str
    tree: Tree
    recipe_name: str
    optimizer: str
    file: str

    @property
    def recipe(self) -> Tree:
        return self.tree["recipes"][self.recipe_name]

    @property
    def entry(self) -> Tree | None:
        """The recipe's section for the optimizer; None where it names no settings for it."""
        return (self.recipe.get("optimizers") or {}).get(self.optimizer)


def choose(name: str, tree: Tree, recipe: str | None, optimizer: str, file: str) -> Experiment:
    """Pick the recipe. Raises UserError for an unknown one and for a section that no experiment's file has."""
    _known(tree, "experiment", file)
    recipe = recipe or tree["default_recipe"]
    if recipe not in tree["recipes"]:
        key = tree.get("recipe_key", "recipe")  # under which the command line knows the recipes of this experiment
        kind = "task" if key == "task.name" else "recipe"
        raise UserError(
            f"{key}={recipe} (command line): {name} has no such {kind}{suggestion(recipe, tree['recipes'])}"
        )
    _known(tree["recipes"][recipe], "recipe", f"{file}: recipes.{recipe}")
    if sum(unit in tree["recipes"][recipe] for unit in UNITS) != 1:
        raise UserError(f"{file}: recipes.{recipe}: needs a default budget in {' or '.join(UNITS)}, and in one of them")
    experiment = Experiment(name, tree, recipe, optimizer, file)
    _known(experiment.entry or {}, "optimizer", f"{file}: recipes.{recipe}.optimizers.{optimizer}")
    return experiment


def budgets(recipe: Tree) -> list[Budget]:
    """The budgets that a recipe defines, the shortest first."""
    default = budget_of(recipe)
    return [Budget(count, default.unit) for count in sorted(recipe.get("budgets") or {default.count})]


def choose_budget(experiment: Experiment, choices: Mapping[str, Any]) -> Budget:
    """The nominal budget: the `epochs` or `updates` asked for, if the recipe defines them, else its default."""
    default, counts = budget_of(experiment.recipe), [budget.count for budget in budgets(experiment.recipe)]
    listed = ", ".join(map(str, counts))
    for unit in UNITS:
        if unit != default.unit and choices.get(unit) is not None:
            raise UserError(
                f"{unit}={choices[unit]} (command line): {experiment.name} counts {default.unit}; "
                f"use {default.unit}=, one of {listed}"
            )
    asked = choices.get(default.unit)
    if asked is None:
        return default
    if asked not in counts or isinstance(asked, bool):
        near = ""
        if type(asked) in (int, float):
            near = f"; did you mean {min(counts, key=lambda count: abs(count - asked))}?"
        raise UserError(
            f"{default.unit}={asked} (command line): recipe {experiment.recipe_name} of {experiment.name} has no such "
            f"budget; choose from: {listed}{near}"
        )
    return Budget(asked, default.unit)


def data_name(experiment: Experiment, variant: str | None) -> str:
    """The data set that the experiment, or its variant, runs on unless the user says otherwise."""
    return variant_section(experiment, variant)["data"] if variant else experiment.tree["data"]


def variant_section(experiment: Experiment, variant: str) -> Tree:
    """What the file says of a scale's variant. Raises UserError where it says nothing."""
    section = experiment.tree.get(variant)
    if section is None:
        raise UserError(f"scale={variant} (command line): {experiment.file} has no section {variant!r}")
    _known(section, "variant", f"{experiment.file}: {variant}")
    return section


def _known(section: Tree, kind: str, where: str) -> None:
    """Refuse a section of an experiment's file with a key too many or too few."""
    known = REQUIRED[kind] | OPTIONAL[kind]
    for key in section:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{suggestion(key, sorted(known))}")
    for key in sorted(REQUIRED[kind] - section.keys()):
        raise UserError(f"{where}: {key!r} is missing")
