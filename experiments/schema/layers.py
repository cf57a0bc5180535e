"""From an experiment's file to one resolved tree: the layers of a configuration, lowest first.

1. defaults of `RunConfig` and of `configs/config.yaml`, then the data set's file
2. `settings` of the experiment, valid for all its recipes
3. `settings` of the recipe, its nominal batch size and budget
4. the optimizer's file, under `optim`
5. the recipe's settings for that optimizer
6. what changes with the budget, for all optimizers and then for that one
7. the scale: its factors, the rate's scaling to its batch, then the settings of its variant (`mini`, `small`)
8. the rate's scaling to another batch size, and the command line (in `compose`)

Everything here is a pure function of plain trees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from experiments.schema.budget import Budget, budget_of
from experiments.schema.errors import UserError, suggestion
from experiments.schema.experiment_file import Experiment, variant_section
from experiments.schema.typed import Tree, get, leaves, put, show

# Levels of what was released with the paper: arguments and logs of runs with Adan, of no other optimizer.
RELEASED = ("released_arguments", "released_log")
EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}  # of the batch, in each rule of `lr_scaling`


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


def recipe_layers(experiment: Experiment, budget: Budget, optim_defaults: Tree) -> Iterable[Layer]:
    """Layers 2 to 6: the printed recipe for this optimizer and budget.

    An optimizer whose own values were not released only inherits what the recipe says of the released runs.
    """
    tree, recipe, entry = experiment.tree, experiment.recipe, experiment.entry
    in_recipe = ("recipes", experiment.recipe_name)
    in_entry = (*in_recipe, "optimizers", experiment.optimizer)
    where = _dotted(in_recipe)
    general = _inherited(experiment, _default(recipe.get("provenance")))
    own = _default((entry or {}).get("provenance")) or general
    of_all_recipes = _inherited(experiment, _default(tree.get("provenance"))) or general
    nominal = {
        "batch_size": recipe["batch_size"],
        budget.unit: budget.count,
        "lr_scaling": recipe.get("lr_scaling", "none"),
    }
    length = {"schedule": {budget.unit: budget.count}}
    yield from _by_file(experiment, ("settings",), of_all_recipes, where)
    yield from _by_file(experiment, in_recipe, general, where, nominal)
    yield Layer(f"{experiment.file_of(*in_recipe, budget.unit)}: {where}", length)
    yield from _by_file(experiment, (*in_recipe, "settings"), general, where)
    unnamed = f"{experiment.file_of(*in_recipe)}: {where} names no settings for this optimizer"
    yield Layer(
        f"configs/optim/{experiment.optimizer}.yaml",
        {"optim": optim_defaults},
        None if entry is not None else {"level": "ours", "source": unnamed},
    )
    yield from _by_file(experiment, (*in_entry, "settings"), own, where)
    for path, fact in ((in_recipe, general), (in_entry, own)):
        in_budget = (*path, "budgets", budget.count)
        settings = dict(experiment.section(*in_budget))
        named = _default(settings.pop("provenance", None))
        if path == in_recipe:
            named = _inherited(experiment, named)
        yield from _by_file(experiment, in_budget, named or fact, where, settings)


def _by_file(
    experiment: Experiment, path: tuple[Any, ...], fact: dict[str, str] | None, ours: str, values: Tree | None = None
) -> Iterable[Layer]:
    """The section at `path`, or `values` of it: one layer for each file that some of them stand in.

    Without a fact they are ours, and their source is the section `ours` of that file.
    """
    files: dict[str, Tree] = {}
    for key, value in leaves(experiment.section(*path) if values is None else values):
        put(files.setdefault(experiment.file_of(*path, *key.split(".")), {}), key, value)
    where = _dotted(key for key in path if key != "settings")
    for file, tree in files.items():
        fact_of_file = fact or {"level": "ours", "source": f"{file}: {ours}"}
        yield Layer(f"{file}: {where}" if where else file, tree, fact_of_file)


def _dotted(path: Iterable[Any]) -> str:
    return ".".join(map(str, path))


def _inherited(experiment: Experiment, fact: dict[str, str] | None) -> dict[str, str] | None:
    """Weigh a fact of the recipe for this optimizer: Adan's released runs are no evidence of another's."""
    own = _default((experiment.entry or {}).get("provenance"))
    if fact is None or fact["level"] not in RELEASED or (own and own["level"] in RELEASED):
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
    facts = {key: _inherited(experiment, fact) or fact for key, fact in _named(of_all_optimizers)}
    return facts | dict(_named(own))


def _named(sections: Iterable[Tree]) -> Iterable[tuple[str, dict[str, str]]]:
    for section in sections:
        for key, fact in (section.get("provenance") or {}).items():
            if isinstance(fact, dict) and key != "default":
                yield key, fact


def variant_layers(experiment: Experiment, variant: str, stack: Stack) -> Iterable[Layer]:
    """Layer 7: the factors of `variant` applied to the tree so far, the recipe's rate moved by the rule `lr_scaling`,
    then its settings, the general ones first. A default rate belongs to no batch and stays."""
    variant_section(experiment, variant)
    in_recipe = (variant, "recipes", experiment.recipe_name)
    paths = [
        (*path, *inner) for path in ((variant,), in_recipe) for inner in ((), ("optimizers", experiment.optimizer))
    ]
    factors: dict[str, Fraction] = {}
    file, rule, of_rule = experiment.file, "none", variant
    for path in paths:
        if stated := experiment.section(*path).get("lr_scaling"):
            rule, of_rule = stated, f"{experiment.file_of(*path, 'lr_scaling')}: {_dotted(path)}"
        if part := experiment.section(*path, "factors"):
            file = experiment.file_of(*path, "factors")
            factors |= _factors(part, f"{file}: {_dotted(path)}")
    ours = {"level": "ours", "source": f"{file}: {variant}"}
    yield Layer(f"{file}: {variant}.factors", shrunk(stack.tree, factors), ours)
    rate, by = get(stack.tree, "optim.lr"), factors["batch_size"]
    if experiment.entry is not None and (scaled := scaled_rate(rate, by, rule, of_rule)) != rate:
        why = {"level": "ours", "source": f"{of_rule}: the recipe's {rate:g} for {by} of its batch, by rule {rule}"}
        yield Layer(f"{of_rule}.lr_scaling", {"optim": {"lr": scaled}}, why)
    for path in paths:
        yield from _by_file(experiment, (*path, "settings"), None, variant)


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


def scaled_rate(rate: float, by: float | Fraction, rule: str, origin: str) -> float:
    """The learning rate for `by` times the batch; what is no number stays, to be refused with its origin later.

    Raises UserError for a rule that does not exist.
    """
    if rule not in EXPONENTS:
        raise UserError(f"lr_scaling={show(rule)} ({origin}): no such rule{suggestion(rule, EXPONENTS)}")
    return rate * float(by) ** EXPONENTS[rule] if isinstance(rate, int | float) else rate


def _milestones(nominal: list[int], factor: Fraction, length: int) -> list[int]:
    milestones: list[int] = []
    for milestone in nominal:
        milestones.append(max(round(milestone * factor), milestones[-1] + 1 if milestones else 1))
    return [milestone for milestone in milestones if milestone < length]


def _factors(factors: Tree, where: str) -> dict[str, Fraction]:
    """The factors that a section names; fractions such as `1/15` stay exact."""
    try:
        return {key: Fraction(str(factor)) for key, factor in factors.items()}
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{where}: factors={factors}: expected numbers or fractions such as 1/15") from None


def _at_least_one(value: Fraction) -> int:
    return max(1, round(value))


def _default(provenance: Tree | None) -> dict[str, str] | None:
    """The fact that covers a whole section: `{level, source}` itself, or its `default`."""
    if not provenance:
        return None
    fact = provenance.get("default", provenance)
    return {key: fact[key] for key in ("level", "source") if key in fact} if "level" in fact else None
