"""Where a value of a configuration came from, for messages about it."""

from __future__ import annotations

from experiments.schema import paths
from experiments.schema.budget import budget_of
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.experiment_file import choose
from experiments.schema.layers import Stack, recipe_layers, variant_layers
from experiments.schema.sources import read


def origin(config: RunConfig, key: str) -> str:
    """Where the value of a dotted key came from, in words."""
    fact, section = config.provenance.get(key), key.split(".")[0]
    if (fact or {}).get("level") == "command_line" or any(text.startswith(f"{key}=") for text in config.overrides):
        return "command line"
    if section in ("launch", "track"):
        return f"configs/{section}"
    if section in ("data", "optim") and fact is None:
        return f"configs/{section}/{config.data.name if section == 'data' else config.optim['name']}.yaml"
    try:
        return _file(config, key)
    except UserError:  # it was composed from other files than those that are here today
        return f"configs/exp/{config.exp}.yaml"


def _file(config: RunConfig, key: str) -> str:
    """The experiment's file or that of its family, by where the highest of their layers that has the value stands."""
    experiment = choose(config.exp, config.recipe, config.optim["name"], paths.CONFIGS)
    stack = Stack()
    for layer in recipe_layers(experiment, budget_of(vars(config)), {}):
        stack.add(layer)
    if variant := read(paths.CONFIGS / "scale" / f"{config.scale}.yaml").get("variant"):
        for layer in variant_layers(experiment, variant, stack):
            stack.add(layer)
    return stack.origins.get(key, experiment.file).partition(":")[0]
