"""What uniformly random actions get: one game against gymnasium's own loop, and the measured file."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import yaml

from experiments.environments import names, random_policy
from experiments.environments.simulator import quiet_compiler
from experiments.schema import paths


def test_returns_are_those_of_whole_first_episodes():
    returns, lengths = random_policy.play("InvertedDoublePendulum", episodes=20, seed=5)
    with quiet_compiler():
        environments = [gymnasium.make("InvertedDoublePendulum-v4") for _ in range(20)]
    for row, environment in enumerate(environments):
        environment.reset(seed=5 + row)
    generator = np.random.default_rng(5)
    expected, steps, going = np.zeros(20), np.zeros(20), np.ones(20, bool)
    low, high = environments[0].action_space.low, environments[0].action_space.high
    while going.any():
        actions = generator.uniform(low, high, (20, 1))
        for row in np.flatnonzero(going):
            _, reward, terminated, truncated, _ = environments[row].step(actions[row])
            expected[row] += reward
            steps[row] += 1
            going[row] = not (terminated or truncated)
    assert returns == pytest.approx(expected) and (lengths == steps).all()


def test_the_file_holds_every_game_as_measured():
    measured = yaml.safe_load((paths.ROOT / "results" / "random_policy" / "returns.yaml").read_text())
    assert sorted(measured["games"]) == names()
    returns, lengths = random_policy.play("InvertedDoublePendulum", measured["episodes"])
    entry = measured["games"]["InvertedDoublePendulum"]
    assert entry["mean_return"] == pytest.approx(returns.mean(), abs=5e-4)
    assert entry["mean_length"] == pytest.approx(lengths.mean(), abs=5e-3)
