"""Players: parts of a task's module that take turns at updates, each with settings of its own (the two of a GAN)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from experiments.schema.config import RunConfig

ONLY = ""  # the one player of most tasks: all of the module


def names(config: RunConfig) -> list[str]:
    """The players, each named as the submodule that it trains."""
    return list(config.players) or [ONLY]


def of_player(config: RunConfig, name: str) -> RunConfig:
    """`config` as this player trains by it: `players.<name>` lies over `optim` and `schedule`; another optimizer
    replaces all of `optim`."""
    own = config.players.get(name, {})
    optim = own.get("optim", {})
    if optim.get("name", config.optim.get("name")) == config.optim.get("name"):
        optim = {**config.optim, **optim}
    return replace(config, optim=optim, schedule=replace(config.schedule, **own.get("schedule", {})))


def of_each(config: RunConfig, value: Callable[[str], Any]) -> Any:
    """What a file says of the players: the value of the only one, or those of several by their names."""
    return {name: value(name) for name in names(config)} if config.players else value(ONLY)


def own(value: Any, name: str) -> Any:
    """Inverse of `of_each`: the value of the player."""
    return value if name == ONLY else value[name]
