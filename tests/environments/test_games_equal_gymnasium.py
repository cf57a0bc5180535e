"""Our games against gymnasium's own environments, in every bit: observations, rewards, ends and what follows them."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.environments import ENGINES, make, names
from experiments.environments.simulator import quiet_compiler

pytest.importorskip("mujoco", reason="needs the extra ppo")
gymnasium = pytest.importorskip("gymnasium", reason="needs the extra ppo")

SEEDS = [3, 14, 159]


def reference(game: str, actions: np.ndarray) -> list[tuple]:
    """Play one gymnasium environment for each seed with CleanRL's ClipAction, resetting it when an episode ends."""
    recorded = []
    for row, seed in enumerate(SEEDS):
        with quiet_compiler():
            environment = gymnasium.wrappers.ClipAction(gymnasium.make(f"{game}-v4", disable_env_checker=True))
        environment.reset(seed=seed)
        steps, episode_return, length = [], 0.0, 0
        for action in actions[:, row]:
            final, reward, terminated, truncated, _ = environment.step(action)
            episode_return, length = episode_return + reward, length + 1
            observation = environment.reset()[0] if terminated or truncated else final
            steps.append((observation, reward, terminated, truncated, final, episode_return, length))
            if terminated or truncated:
                episode_return, length = 0.0, 0
        environment.close()
        recorded.append(steps)
    return [tuple(np.stack(values) for values in zip(*steps, strict=True)) for steps in zip(*recorded, strict=True)]


def random_actions(environment, steps: int, dtype) -> np.ndarray:
    """Normal actions of a scale that changes from step to step, a third of them beyond the bounds."""
    generator = np.random.default_rng(0)
    scale = environment.action_high * generator.uniform(0, 2, (steps, 1, 1))
    return (scale * generator.standard_normal((steps, environment.rows, environment.action_size))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("game", names())
def test_every_bit_of_thousands_of_steps(game, dtype):
    ours = make(game, "mujoco", SEEDS)
    actions = random_actions(ours, 1200 if dtype == np.float32 else 250, dtype)
    ends = 0
    for index, expected in enumerate(reference(game, actions)):
        step = ours.step(actions[index])
        ends += step.ended.sum()
        for field, got, wanted in zip(step._fields, step, expected, strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=f"{field} of step {index}")
            assert got.dtype == (bool if field in ("terminated", "truncated") else wanted.dtype), field
    assert ends >= len(SEEDS) or dtype == np.float64  # every game ended, by a fall or by the time limit


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("game", names())
def test_first_observations_and_spaces_are_gymnasiums(game, engine):
    ours = make(game, engine, SEEDS)
    with quiet_compiler():
        environment = gymnasium.make(f"{game}-v4", disable_env_checker=True)
    np.testing.assert_array_equal(ours.reset(), [environment.reset(seed=seed)[0] for seed in SEEDS])
    np.testing.assert_array_equal(ours.observations[0], environment.reset(seed=SEEDS[0])[0])
    assert (ours.rows, ours.observation_size) == (len(SEEDS), *environment.observation_space.shape)
    assert ours.action_size == environment.action_space.shape[0]
    np.testing.assert_array_equal(ours.action_low, environment.action_space.low)
    np.testing.assert_array_equal(ours.action_high, environment.action_space.high)


@pytest.mark.parametrize("game", names())
def test_the_plain_engine_gives_the_same_bits(game):
    ours, plain = make(game, "mujoco", SEEDS), make(game, "gymnasium", SEEDS)
    for action in random_actions(ours, 200, np.float32):
        for got, wanted in zip(ours.step(action), plain.step(action), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_an_action_that_is_not_a_number_is_treated_as_gymnasium_treats_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mujoco writes its warning into a file
    ours, plain = make("HalfCheetah", "mujoco", SEEDS), make("HalfCheetah", "gymnasium", SEEDS)
    actions = np.zeros((3, 6), np.float32)
    actions[1, 2] = np.nan
    for _ in range(3):
        for got, wanted in zip(ours.step(actions), plain.step(actions), strict=True):
            np.testing.assert_array_equal(got, wanted)
