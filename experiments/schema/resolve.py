"""The choices of one run into its `RunConfig`: the layers of `layers`, then the command line."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.schema import layers, names, paths, tables
from experiments.schema.announced import hyper_parameters
from experiments.schema.budget import UNITS, Budget
from experiments.schema.config import RunConfig
from experiments.schema.digest import NOT_IDENTITY
from experiments.schema.errors import UserError
from experiments.schema.experiment_file import Experiment, choose, choose_budget, data_name, require_scale
from experiments.schema.layers import Layer, Stack
from experiments.schema.sources import composed, read
from experiments.schema.spaces import without_space
from experiments.schema.typed import Tree, expect_key, get, leaves, optimizer_value, put, show, to_config, words
from experiments.schema.validation import validation_metrics

COMMAND_LINE = "command line"
KNOBS = ("recipe", "epochs", "updates", "batch_size", "lr_scaling")
DEFAULTS = {"optim": "adan", "scale": "mini", "launch": "local", "track": "none"}
PLACES = ("data.root", "data.hub", "data.cache")
PLACES_OF_WEIGHTS = ("parent", "init", "text.tokenizer")
# Fields of RunConfig that follow from others: nobody sets them. What is set instead, where there is something.
DERIVED = {
    "title": "exp=",
    "task": "exp=",
    "inherited": "parent=, init= or text.tokenizer=",
    "glue": "task.name=",
    "scale_factors": "scale= or global_batch_size=",
    **dict.fromkeys(("curve", "provenance", "disagreements", "overrides"), ""),
    **{f"{group}.name": f"{group}=" for group in ("optim", "data", "launch", "track")},
}
OF_EVERY_OPTIMIZER = {"layer_decay": 1.0}  # absent where nobody sets it


def resolve(choices: dict[str, Any], values: dict[str, Any], configs: Path = paths.CONFIGS) -> RunConfig:
    """The configuration of one run, from its choices (`exp`, `optim`, `epochs`, ...) and dotted values.

    Raises UserError for names, keys and values that do not exist; `check` looks at how the values fit together.
    """
    experiment, variant, data, files = _choose(choices, configs)
    budget = choose_budget(experiment, choices)
    hyper_parameters = {**files["optim"], **OF_EVERY_OPTIMIZER}

    stack = Stack()
    stack.add(Layer("configs/config.yaml", {key: files[key] for key in files if key not in (*names.GROUPS, *KNOBS)}))
    for group in ("launch", "track"):
        stack.add(Layer(f"configs/{group}", {group: files[group]}))
    stack.add(_data_layer(experiment.tree["data"], configs))
    for layer in layers.recipe_layers(experiment, budget, files["optim"]):
        stack.add(layer)
    _name_provenance(stack, experiment, budget)
    printed = {key: stack.tree[key] for key in ("batch_size", "lr_scaling")}
    _choose_batch_size(stack, choices, values)
    if variant:
        _apply_variant(stack, experiment, variant, configs)
    if data != data_name(experiment, variant):
        stack.drop("data")
        stack.add(_data_layer(data, configs))
    stack.tree.setdefault("global_batch_size", stack.tree["batch_size"])
    stack.tree.setdefault("batch_per_device", stack.tree["global_batch_size"])
    _scale_rate(stack, printed["batch_size"])

    as_the_recipe_says = copy.deepcopy(stack.tree)
    for key, value in values.items():
        _override(stack, key, value, hyper_parameters)
    stack.add(Layer("composition", _identity(experiment, choices)))
    config = to_config(_entries(stack, hyper_parameters))
    config.batch_per_device = min(config.batch_per_device, config.global_batch_size)
    if config.data.validation_fraction:
        config.metrics = validation_metrics(config.metrics)
    config.provenance = dict(sorted(stack.provenance.items()))
    sections = (experiment.recipe, experiment.entry or {}, experiment.tree)
    config.disagreements = [text for section in sections for text in section.get("disagreements") or []]

    changed = [key for key in values if get(as_the_recipe_says, key) != get(stack.tree, key) and _is_identity(key)]
    config.overrides = [f"{key}={show(get(stack.tree, key))}" for key in changed]
    if data != data_name(experiment, variant):
        config.overrides.append(f"data={data}")
    if config.batch_size not in {printed["batch_size"], *tables.batch_sizes(config, configs)}:
        config.overrides.append(f"batch_size={config.batch_size}")
    if config.lr_scaling != printed["lr_scaling"] and config.batch_size != printed["batch_size"]:
        config.overrides.append(f"lr_scaling={config.lr_scaling}")
    if not variant and not config.overrides and config.batch_size == printed["batch_size"]:
        config.curve = ((experiment.entry or {}).get("curves") or {}).get(budget.count)
    return config


def _choose(choices: dict[str, Any], configs: Path) -> tuple[Experiment, str | None, str, Tree]:
    """The experiment with its recipe, the scale's variant, the data set's name, and Hydra's composition."""
    if choices.get("exp") is None:
        known = ", ".join(names.choices("exp", configs))
        raise UserError(f"exp= is missing on the command line: which experiment? choose from: {known}")
    groups = {
        group: names.require(group, choices.get(group, default), COMMAND_LINE, configs)
        for group, default in {"exp": None, **DEFAULTS}.items()
    }
    experiment = choose(groups["exp"], choices.get("recipe"), groups["optim"], configs)
    require_scale(experiment, groups["scale"], configs)
    variant = read(configs / "scale" / f"{groups['scale']}.yaml").get("variant")
    given = choices.get("data")
    data = given if given is not None else data_name(experiment, variant)
    file = experiment.file_of(variant, "data") if variant else experiment.file_of("data")
    names.require("data", data, COMMAND_LINE if given is not None else file, configs)
    # An experiment's file is a book of recipes and may name another data set for each: `layers` reads those two.
    del groups["exp"]
    return experiment, variant, data, _composed(groups, configs)


def _composed(groups: dict[str, str], configs: Path) -> Tree:
    """Hydra's composition, in which an optimizer without a file takes the defaults that its package announces."""
    optim = groups["optim"]
    if (configs / "optim" / f"{optim}.yaml").is_file():
        files = composed(configs, **groups)
        return {**files, "optim": without_space(files["optim"])}
    files = composed(configs, **{**groups, "optim": DEFAULTS["optim"]})
    return {**files, "optim": hyper_parameters(optim)}


def _data_layer(name: str, configs: Path) -> Layer:
    return Layer(f"configs/data/{name}.yaml", {"data": read(names.file_of("data", name, configs))})


def _name_provenance(stack: Stack, experiment: Experiment, budget: Budget) -> None:
    """Attach the facts that the file gives for one key, or for a section of them."""
    for key, fact in layers.named_provenance(experiment, budget).items():
        for name in stack.provenance:
            if name == key or name.startswith(f"{key}."):
                stack.provenance[name] = fact


def _choose_batch_size(stack: Stack, choices: dict[str, Any], values: dict[str, Any]) -> None:
    for key in ("batch_size", "lr_scaling"):
        if choices.get(key) is not None:
            stack.add(Layer(COMMAND_LINE, {key: choices[key]}))
    size, origin = stack.tree["batch_size"], stack.origins["batch_size"]
    if type(size) is not int or size < 1:
        raise UserError(f"batch_size={show(size)} ({origin}): expected an integer of at least 1")
    per_device = stack.tree.get("batch_per_device") or size
    if "batch_per_device" not in values and size > per_device and size % per_device:
        raise UserError(
            f"batch_size={size} ({origin}): no micro-batch divides it, since batch norm and mixup act on "
            f"batch_per_device={per_device} ({stack.origins['batch_per_device']}); "
            f"did you mean {round(size / per_device) * per_device}?"
        )


def _apply_variant(stack: Stack, experiment: Experiment, variant: str, configs: Path) -> None:
    own, printed = data_name(experiment, variant), data_name(experiment, None)
    if own != printed:
        stack.drop("data")
        stack.add(_data_layer(own, configs))
    for layer in layers.variant_layers(experiment, variant, stack):
        stack.add(layer)


def _scale_rate(stack: Stack, recipe_batch_size: int) -> None:
    """Another batch size than the recipe's scales the rate; one that the command line gives replaces it later."""
    size, rule, rate = stack.tree["batch_size"], stack.tree["lr_scaling"], stack.tree["optim"]["lr"]
    scaled = layers.scaled_rate(rate, size / recipe_batch_size, rule, stack.origins["lr_scaling"])
    if size == recipe_batch_size:
        return
    for key in {f"schedule.warmup_{unit}" for unit in UNITS} & stack.provenance.keys():
        text = f"the recipe's at batch size {recipe_batch_size}; none is published for {size}"
        stack.provenance[key] = {"level": "ours", "source": text}
    if rule == "none":
        return
    level = "ours" if stack.provenance.get("optim.lr", {}).get("level") == "ours" else "inferred"
    fact = {"level": level, "source": f"{rate:g} at batch size {recipe_batch_size}, scaled to {size} by rule {rule}"}
    stack.add(Layer(f"lr_scaling={rule}", {"optim": {"lr": scaled}}, fact))


def _override(stack: Stack, key: str, value: Any, hyper_parameters: Tree) -> None:
    """Set one value from the command line, last of all."""
    text = f"{key}={show(value)}"
    for derived in DERIVED.keys() & {key, key.split(".")[0]}:
        instead = f"; use {DERIVED[derived]}" if DERIVED[derived] else ""
        raise UserError(f"{text} ({COMMAND_LINE}): {key} follows from other choices and cannot be set{instead}")
    if key.startswith("optim."):
        value = optimizer_value(key, value, hyper_parameters, COMMAND_LINE)
    elif words(expect_key(key, COMMAND_LINE)) == "a mapping" and key != "model.arguments":
        inner = ", ".join(f"{key}.{name}" for name in get(stack.tree, key) or ())
        raise UserError(f"{text} ({COMMAND_LINE}): {key} is a section; set one of its keys: {inner}")
    tree: Tree = {}
    put(tree, key, value)
    fact = stack.provenance.get(key)
    if value != get(stack.tree, key):
        fact = {"level": "command_line", "source": key if key in PLACES else text}  # records name no local folders
    stack.add(Layer(COMMAND_LINE, tree, fact))


def _identity(experiment: Experiment, choices: dict[str, Any]) -> Tree:
    return {
        "exp": experiment.name,
        "title": experiment.tree["title"],
        "task": experiment.tree["task"],
        "recipe": experiment.recipe_name,
        "scale": choices.get("scale", DEFAULTS["scale"]),
    }


def _entries(stack: Stack, hyper_parameters: Tree) -> Iterator[tuple[str, Any, str]]:
    """(key, value, origin) of the whole tree; hyper-parameters in the types of the optimizer's file."""
    for key, value in leaves(stack.tree):
        origin = stack.origins.get(key, "composition")
        if key.startswith("optim."):
            value = optimizer_value(key, value, hyper_parameters, origin)
        elif key in PLACES and value is not None:
            value = _place(key, str(value), origin)
        elif key in PLACES_OF_WEIGHTS and value is not None:  # or names, which `launch.inheritance` finds
            _place(key, str(value), origin)
        yield key, value, origin


def _place(key: str, value: str, origin: str) -> str:
    """A folder or a file as an absolute path. Raises UserError for what the file system cannot look at."""
    try:
        place = Path(value).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()
        return str(place.resolve()) if key != "data.hub" or place.is_dir() else value
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{key}={value} ({origin}): cannot be looked at: {reason}") from error


def _is_identity(key: str) -> bool:
    """Whether a dotted key changes numbers of a run."""
    return not any(key == field or key.startswith(f"{field}.") for field in NOT_IDENTITY)
