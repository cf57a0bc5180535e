"""Measure what a policy that knows nothing gets: the zero of normalised returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.environments import make

EPISODES = 100


def play(
    game: str, episodes: int = EPISODES, seed: int = 0, engine: str = "mujoco"
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns [episodes] float64 and lengths [episodes] of actions drawn uniformly from the action space.

    Each episode is the first of an environment of its own, with seeds `seed`, `seed + 1`, ..., so that short ones are
    not favoured. Raises UserError for an unknown game or an engine that is not installed.
    """
    environment = make(game, engine, range(seed, seed + episodes))
    generator = np.random.default_rng(seed)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    going = np.ones(episodes, bool)
    try:
        environment.reset()
        while going.any():
            shape = episodes, environment.action_size
            step = environment.step(generator.uniform(environment.action_low, environment.action_high, shape))
            over = going & step.ended
            returns[over], lengths[over] = step.episode_returns[over], step.episode_lengths[over]
            going &= ~step.ended
    finally:
        environment.close()
    return returns, lengths
