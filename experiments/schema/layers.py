"""From an experiment's file to one resolved tree: the layers of a configuration, lowest first.

1. defaults of `RunConfig` and of `configs/config.yaml`, then the data set's file
2. `settings` of the experiment, valid for all its recipes
3. `settings` of the recipe, its nominal batch size and budget
4. the optimizer's file, under `optim`
5. the recipe's settings for that optimizer
6. what changes with the budget, for all optimizers and then for that one
7. the scale: its factors, then the settings of its variant (`mini`)
8. the rate's scaling to another batch size, and the command line (in `compose`)

Everything here is a pure function of plain trees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from experiments.schema.budget import UNITS, Budget, budget_of
from experiments.schema.errors import UserError, suggestion
from experiments.schema.typed import Tree, get, leaves, put

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

# Levels of what was released with the paper: arguments and logs of runs with Adan, of no other optimizer.
RELEASED = ("released_arguments", "released_log")


@dataclass(frozen=True)
class Layer:
    """A partial tree of RunConfig and where it comes from.

    `origin` is for error messages; `provenance` (`{"level": ..., "source": ...}`) is for the record, and None for
    defaults, which nobody claims.
    """

    origin: str
    tree: Tree
    provenance: dict[str, str] | None = None


@dataclass
class Stack:
    """Layers merged so far: the tree, and by dotted key the origin and the provenance of its value."""

    tree: Tree = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, layer: Layer) -> None:
        """Put `layer` on top: mappings merge, everything else replaces."""
        for key, value in leaves(layer.tree):
            if value == {} and isinstance(get(self.tree, key), dict):
                continue
            put(self.tree, key, value)
            self.origins[key] = layer.origin
            if layer.provenance is not None:
                self.provenance[key] = layer.provenance

    def drop(self, section: str) -> None:
        """Forget a section, such as the settings of a data set that another one replaces."""
        self.tree.pop(section, None)
        for facts in (self.origins, self.provenance):
            for key in [key for key in facts if key.startswith(f"{section}.")]:
                del facts[key]


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


def recipe_layers(experiment: Experiment, budget: Budget, optim_defaults: Tree) -> Iterable[Layer]:
    """Layers 2 to 6: the printed recipe for this optimizer and budget.

    An optimizer whose own values were not released only inherits what the recipe says of the released runs.
    """
    file, recipe, entry = experiment.file, experiment.recipe, experiment.entry
    where = f"{file}: recipes.{experiment.recipe_name}"
    here = f"{where}.optimizers.{experiment.optimizer}"
    general = _inherited(experiment, _default(recipe.get("provenance")) or {"level": "ours", "source": where})
    own = _default((entry or {}).get("provenance")) or general
    of_all_recipes = _inherited(experiment, _default(experiment.tree.get("provenance")) or general)
    yield Layer(file, experiment.tree.get("settings") or {}, of_all_recipes)
    nominal = {
        "batch_size": recipe["batch_size"],
        budget.unit: budget.count,
        "lr_scaling": recipe.get("lr_scaling", "none"),
    }
    yield Layer(where, nominal, general)
    yield Layer(where, {"schedule": {budget.unit: budget.count}})
    yield Layer(where, recipe.get("settings") or {}, general)
    yield Layer(
        f"configs/optim/{experiment.optimizer}.yaml",
        {"optim": optim_defaults},
        None if entry is not None else {"level": "ours", "source": f"{where} names no settings for this optimizer"},
    )
    if entry is not None:
        yield Layer(here, entry.get("settings") or {}, own)
    of_all_optimizers = _budget_layer(f"{where}.budgets.{budget.count}", recipe, budget, general)
    yield replace(of_all_optimizers, provenance=_inherited(experiment, of_all_optimizers.provenance or general))
    if entry is not None:
        yield _budget_layer(f"{here}.budgets.{budget.count}", entry, budget, own)


def _budget_layer(where: str, section: Tree, budget: Budget, fact: dict[str, str]) -> Layer:
    tree = dict((section.get("budgets") or {}).get(budget.count) or {})
    return Layer(where, tree, _default(tree.pop("provenance", None)) or fact)


def _inherited(experiment: Experiment, fact: dict[str, str]) -> dict[str, str]:
    """What a fact of the recipe is worth for this optimizer: Adan's released runs are no evidence of another's."""
    own = _default((experiment.entry or {}).get("provenance"))
    if fact["level"] not in RELEASED or (own and own["level"] in RELEASED):
        return fact
    return {"level": "inferred", "source": f"as in the released Adan runs: {fact['source']}"}


def named_provenance(experiment: Experiment, budget: Budget) -> dict[str, dict[str, str]]:
    """Facts that the file gives for single keys, or for a section of them (`schedule`); the narrower section wins."""
    entry = experiment.entry or {}
    of_all_optimizers = (
        experiment.tree,
        experiment.recipe,
        (experiment.recipe.get("budgets") or {}).get(budget.count) or {},
    )
    own = (entry, (entry.get("budgets") or {}).get(budget.count) or {})
    facts = {key: _inherited(experiment, fact) for key, fact in _named(of_all_optimizers)}
    return facts | dict(_named(own))


def _named(sections: Iterable[Tree]) -> Iterable[tuple[str, dict[str, str]]]:
    for section in sections:
        for key, fact in (section.get("provenance") or {}).items():
            if isinstance(fact, dict) and key != "default":
                yield key, fact


def variant_layers(experiment: Experiment, variant: str, stack: Stack) -> Iterable[Layer]:
    """Layer 7: the factors of `variant` applied to the tree so far, then its settings, the general ones first."""
    section = _variant(experiment, variant)
    where = f"{experiment.file}: {variant}"
    recipe = (section.get("recipes") or {}).get(experiment.recipe_name) or {}
    parts = []
    for place, part in ((where, section), (f"{where}.recipes.{experiment.recipe_name}", recipe)):
        own = (part.get("optimizers") or {}).get(experiment.optimizer) or {}
        parts += [(place, part), (f"{place}.optimizers.{experiment.optimizer}", own)]
    ours = {"level": "ours", "source": where}
    factors: dict[str, Fraction] = {}
    for place, part in parts:
        factors |= _factors(part, place)
    yield Layer(f"{where}.factors", shrunk(stack.tree, factors), ours)
    for place, part in parts:
        yield Layer(place, part.get("settings") or {}, ours)


def data_name(experiment: Experiment, variant: str | None) -> str:
    """The data set that the experiment, or its variant, runs on unless the user says otherwise."""
    return _variant(experiment, variant)["data"] if variant else experiment.tree["data"]


def shrunk(tree: Tree, by: dict[str, Fraction]) -> Tree:
    """Budget, warm-up, cool-down, milestones and batch multiplied by their factors, rounded, never to nothing."""
    schedule = tree.get("schedule") or {}
    budget = budget_of(schedule)
    factor = by[budget.unit]
    length = _at_least_one(budget.count * factor)
    batch = _at_least_one(tree["batch_size"] * by["batch_size"])
    small: Tree = {budget.unit: length}
    for key in (f"warmup_{budget.unit}", f"cooldown_{budget.unit}"):
        if schedule.get(key):
            small[key] = _at_least_one(schedule[key] * factor)
    if schedule.get("milestones"):
        small["milestones"] = _milestones(schedule["milestones"], factor, length)
    return {
        "schedule": small,
        "global_batch_size": batch,
        "batch_per_device": batch,
        "scale_factors": {key: float(factor) for key, factor in by.items()},
    }


def _milestones(nominal: list[int], factor: Fraction, length: int) -> list[int]:
    milestones: list[int] = []
    for milestone in nominal:
        milestones.append(max(round(milestone * factor), milestones[-1] + 1 if milestones else 1))
    return [milestone for milestone in milestones if milestone < length]


def _factors(part: Tree, where: str) -> dict[str, Fraction]:
    """The factors that a section names; fractions such as `1/15` stay exact."""
    try:
        return {key: Fraction(str(factor)) for key, factor in (part.get("factors") or {}).items()}
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{where}: factors={part['factors']}: expected numbers or fractions such as 1/15") from None


def _at_least_one(value: Fraction) -> int:
    return max(1, round(value))


def _variant(experiment: Experiment, variant: str) -> Tree:
    section = experiment.tree.get(variant)
    if section is None:
        raise UserError(f"scale={variant} (command line): {experiment.file} has no section {variant!r}")
    _known(section, "variant", f"{experiment.file}: {variant}")
    return section


def _default(provenance: Tree | None) -> dict[str, str] | None:
    """The fact that covers a whole section: `{level, source}` itself, or its `default`."""
    if not provenance:
        return None
    fact = provenance.get("default", provenance)
    return {key: fact[key] for key in ("level", "source") if key in fact} if "level" in fact else None


def _known(section: Tree, kind: str, where: str) -> None:
    """Refuse a section of an experiment's file with a key too many or too few."""
    known = REQUIRED[kind] | OPTIONAL[kind]
    for key in section:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{suggestion(key, sorted(known))}")
    for key in sorted(REQUIRED[kind] - section.keys()):
        raise UserError(f"{where}: {key!r} is missing")
