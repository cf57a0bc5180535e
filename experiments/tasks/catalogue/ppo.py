"""Proximal policy optimisation of a game of MuJoCo. No torch."""

from __future__ import annotations

from typing import Any

from experiments import environments
from experiments.schema import names
from experiments.schema.batches import key_of_batch, largest_part
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.origin import origin
from experiments.schema.task_info import TaskInfo


def missing(config: RunConfig) -> str | None:
    """Nothing: games come with their engine. Raises UserError for a game or an engine that does not exist."""
    environments.check(config.ppo.game, config.ppo.engine)
    return None


def identity(config: RunConfig) -> dict[str, Any]:
    """The simulator and its version: a run on another one is a run on other data."""
    environments.check(config.ppo.game, config.ppo.engine)
    return {"name": "mujoco", **environments.identity(config.ppo.game, config.ppo.engine)}


def check(config: RunConfig) -> None:
    """Raise UserError unless environments share the steps of a rollout, and mini-batches its samples; and for a game
    set by hand: a game is an experiment."""
    for text in config.overrides:
        key, _, value = text.partition("=")
        if key == "ppo.game":
            games = [name for name in names.choices("exp") if name.startswith("ppo_")]
            near = suggestion(f"ppo_{value.lower()}", games)
            raise UserError(f"{text} (command line): a game is an experiment of its own{near}")
    if config.ppo.normalise_advantages and config.global_batch_size == 1:
        shown, two = key_of_batch(config, 2)
        raise UserError(f"{shown}: advantages of one sample cannot be normalised; did you mean {two}?")
    steps, key, parallel = config.ppo.rollout_steps, "ppo.environments", config.ppo.environments
    batch = largest_part(steps, config.global_batch_size, 1)
    for parts, shown, fitting in (
        (parallel, f"{key}={parallel} ({origin(config, key)})", largest_part(steps, parallel, 1)),
        (config.global_batch_size, *key_of_batch(config, batch)),
    ):
        if steps % parts:
            raise UserError(
                f"{shown}: does not divide the {steps} steps of a rollout (ppo.rollout_steps); did you mean {fitting}?"
            )


def describe_data(config: RunConfig) -> str:
    """The game, and how much of it is played."""
    steps = config.ppo.rollout_steps * config.total_epochs
    return f"{config.ppo.game}, {steps:,} environment steps, engine {config.ppo.engine}"


INFO = TaskInfo(
    name="ppo",
    implementation="experiments.tasks.ppo:PPO",
    missing=missing,
    identity=identity,
    data="games",
    reads=("ppo",),
    choices={"ppo.normalise_rewards": ("rewards", "returns", "none")},
    bounds={
        "ppo.environments": (1, None),
        "ppo.rollout_steps": (1, None),
        "ppo.passes": (1, None),
        "ppo.gamma": (0.0, 1.0),
        "ppo.gae_lambda": (0.0, 1.0),
        "ppo.clip": (0.0, None),
        "ppo.value_coefficient": (0.0, None),
        "ppo.entropy_coefficient": (0.0, None),
        "ppo.evaluation_episodes": (1, None),
    },
    check=check,
    samples_per_epoch=lambda config: config.ppo.rollout_steps * config.ppo.passes,
    describe_data=describe_data,
    several_seeds=True,
    single_thread=True,
)
