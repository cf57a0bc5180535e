"""The file of an experiment in `configs/exp`: its sections, the recipe that was chosen in it, its budgets.

An experiment that says `extends: NAME` holds only what is its own; `configs/exp/families/NAME.yaml` holds what it
shares with others and is no experiment itself. The two merge by one rule: mappings merge, everything else (a number, a
text, a list, null) is replaced by what the experiment says. Nothing can be taken away: a family has nothing that one of
its experiments lacks. A family extends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.schema import names, paths
from experiments.schema.budget import UNITS, Budget, budget_of
from experiments.schema.errors import UserError, suggestion
from experiments.schema.scales import SHRUNK, scales_of
from experiments.schema.sources import read
from experiments.schema.typed import Tree

# What the sections of an experiment's file must and may hold.
REQUIRED = {
    "experiment": {"title", "task", "data", "default_recipe", "recipes"},
    "recipe": {"batch_size"},
    "optimizer": set(),
    "variant": {"data", "factors"},
}
OPTIONAL = {
    "experiment": {"settings", *SHRUNK, "provenance", "disagreements", "recipe_key", "extends", "label"},
    "recipe": {
        *UNITS,
        *("tables", "description", "lr_scaling", "settings", "budgets", "provenance", "optimizers", "disagreements"),
    },
    "optimizer": {"settings", "budgets", "curves", "provenance", "disagreements"},
    "variant": {"reason", "lr_scaling", "settings", "optimizers", "recipes"},
}


@dataclass(frozen=True)
class Experiment:
    """The files of one experiment, merged, with the recipe that was chosen in them."""

    name: str
    tree: Tree  # the family's and its own, merged
    own: Tree
    file: str
    family_file: str | None
    recipe_name: str
    optimizer: str

    @property
    def recipe(self) -> Tree:
        return self.tree["recipes"][self.recipe_name]

    @property
    def entry(self) -> Tree | None:
        """The recipe's section for the optimizer; None where it names no settings for it."""
        return (self.recipe.get("optimizers") or {}).get(self.optimizer)

    def section(self, *path: Any) -> Tree:
        """The mapping at `path`; an empty one where the files say nothing."""
        section: Any = self.tree
        for key in path:
            section = (section or {}).get(key)
        return section or {}

    def file_of(self, *path: Any) -> str:
        """The file that says what stands at `path`: the experiment's own, or the family's where that says nothing."""
        own: Any = self.own
        for key in path:
            if isinstance(own, dict) and key not in own:
                return self.family_file or self.file
            own = own[key] if isinstance(own, dict) else None
        return self.file


def read_experiment(name: str, configs: Path = paths.CONFIGS) -> Tree:
    """The tree of an experiment's file, merged with that of the family that it extends.

    Raises UserError for a family that does not exist, for one that extends another, and for a recipe or an optimizer
    that neither the family has nor the experiment defines: its name is mistyped.
    """
    own = read(names.file_of("exp", name, configs))
    if "extends" not in own:
        return own
    file, family_name, families = f"configs/exp/{name}.yaml", own["extends"], names.choices("exp/families", configs)
    if family_name not in families:
        raise UserError(
            f"{file}: extends={family_name}: no such family in configs/exp/families{suggestion(family_name, families)}"
        )
    family = read(configs / "exp" / "families" / f"{family_name}.yaml")
    if "extends" in family:
        raise UserError(f"{_family_file(own)}: extends={family['extends']}: a family extends nothing")
    _refuse_unknown_names(own, family, file)
    return _merged(family, own)


def choose(name: str, recipe: str | None, optimizer: str, configs: Path = paths.CONFIGS) -> Experiment:
    """Read an experiment and pick the recipe.

    Raises UserError for an unknown recipe, for a section that no experiment's file has, and as `read_experiment` does.
    """
    tree, own = read_experiment(name, configs), read(names.file_of("exp", name, configs))
    recipe = recipe or tree.get("default_recipe", "")
    experiment = Experiment(name, tree, own, f"configs/exp/{name}.yaml", _family_file(own), recipe, optimizer)
    _known(experiment, "experiment")
    if recipe not in tree["recipes"]:
        key = tree.get("recipe_key", "recipe")  # under which the command line knows the recipes of this experiment
        kind = "task" if key == "task.name" else "recipe"
        raise UserError(
            f"{key}={recipe} (command line): {name} has no such {kind}{suggestion(recipe, tree['recipes'])}"
        )
    _known(experiment, "recipe", "recipes", recipe)
    if sum(unit in experiment.recipe for unit in UNITS) != 1:
        where = f"{experiment.file_of('recipes', recipe)}: recipes.{recipe}"
        raise UserError(f"{where}: needs a default budget in {' or '.join(UNITS)}, and in one of them")
    _known(experiment, "optimizer", "recipes", recipe, "optimizers", optimizer)
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


def require_scale(experiment: Experiment, scale: str, configs: Path = paths.CONFIGS) -> None:
    """Raise UserError for a scale that the experiment does not have."""
    own = scales_of(experiment.tree)
    if scale in own:
        return
    having = [name for name in names.choices("exp", configs) if scale in scales_of(read_experiment(name, configs))]
    raise UserError(
        f"scale={scale} (command line): {experiment.file} has no section {scale!r}: exp={experiment.name} has "
        f"scale={' and scale='.join(own)}; scale={scale} is there for {', '.join(having) or 'no experiment'}"
    )


def data_name(experiment: Experiment, variant: str | None) -> str:
    """The data set that the experiment, or its variant, runs on unless the user says otherwise."""
    return variant_section(experiment, variant)["data"] if variant else experiment.tree["data"]


def variant_section(experiment: Experiment, variant: str) -> Tree:
    """What the file says of a scale's variant. Raises UserError for a key that no variant has and an unknown recipe."""
    section, recipes = experiment.tree[variant], experiment.tree["recipes"]
    _known(experiment, "variant", variant)
    for recipe in section.get("recipes") or {}:
        if recipe not in recipes:
            where = f"{experiment.file_of(variant, 'recipes', recipe)}: {variant}.recipes.{recipe}"
            raise UserError(f"{where}: {experiment.name} has no such recipe{suggestion(recipe, recipes)}")
    return section


def _family_file(own: Tree) -> str | None:
    return f"configs/exp/families/{own['extends']}.yaml" if "extends" in own else None


def _merged(family: Tree, own: Tree) -> Tree:
    """`own` over `family`: mappings merge, everything else replaces."""
    merged = dict(family)
    for key, value in own.items():
        below = family.get(key)
        if key == "provenance":  # of which `{level, source}` is short for its `default`
            below, value = ({"default": facts} if "level" in (facts or {}) else facts for facts in (below, value))
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _refuse_unknown_names(own: Tree, family: Tree, file: str) -> None:
    """Refuse the recipe or the optimizer that an experiment changes, and does not define, where its family has none."""
    recipes = family.get("recipes") or {}
    for name, recipe in (own.get("recipes") or {}).items():
        recipe = recipe or {}
        if name not in recipes and "batch_size" not in recipe:
            raise UserError(f"{file}: recipes.{name}: its family has no such recipe{suggestion(name, recipes)}")
        optimizers = (recipes.get(name) or {}).get("optimizers") or {}
        for optimizer, entry in (recipe.get("optimizers") or {}).items():
            if optimizer not in optimizers and "settings" not in (entry or {}):
                where = f"{file}: recipes.{name}.optimizers.{optimizer}"
                raise UserError(f"{where}: its family has no such optimizer{suggestion(optimizer, optimizers)}")


def _known(experiment: Experiment, kind: str, *path: str) -> None:
    """Refuse a section at `path` with a key too many or, where it says anything, too few."""
    section, known = experiment.section(*path), REQUIRED[kind] | OPTIONAL[kind]
    inside = f": {'.'.join(path)}" if path else ""
    for key in section:
        if key not in known:
            where = f"{experiment.file_of(*path, key)}{inside}"
            raise UserError(f"{where}: unknown key {key!r}{suggestion(key, sorted(known))}")
    for key in sorted(REQUIRED[kind] - section.keys()):
        raise UserError(f"{experiment.file_of(*path)}{inside}: {key!r} is missing")
