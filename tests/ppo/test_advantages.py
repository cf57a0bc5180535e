"""Advantages against the definition: a discounted sum of one-step errors that stops where an episode does."""

from __future__ import annotations

import numpy as np

from experiments.ppo.advantages import advantages

GAMMA, LAMBDA = 0.97, 0.9


def by_definition(rewards, values, next_values, ended):
    steps, rows = rewards.shape
    result = np.zeros_like(rewards)
    for row in range(rows):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                result[start, row] += weight * (rewards[step, row] + GAMMA * next_values[step, row] - values[step, row])
                weight *= GAMMA * LAMBDA
                if ended[step, row]:
                    break
    return result


def test_against_the_definition_with_ends_anywhere():
    generator = np.random.default_rng(0)
    rewards, values, next_values = generator.normal(size=(3, 60, 5))
    ended = generator.random((60, 5)) < 0.1
    ended[-1, 0] = ended[0, 1] = True
    terminated = ended & (generator.random((60, 5)) < 0.5)
    next_values[terminated] = 0.0
    result = advantages(rewards, values, next_values, ended, GAMMA, LAMBDA)
    np.testing.assert_allclose(result, by_definition(rewards, values, next_values, ended), rtol=1e-12)


def test_nothing_after_an_end_reaches_what_came_before():
    generator = np.random.default_rng(1)
    rewards, values, next_values = generator.normal(size=(3, 30, 1))
    ended = np.zeros((30, 1), dtype=bool)
    ended[11] = True
    before = advantages(rewards, values, next_values, ended, GAMMA, LAMBDA)
    rewards[12:], values[12:] = 1e6, -1e6
    after = advantages(rewards, values, next_values, ended, GAMMA, LAMBDA)
    np.testing.assert_array_equal(before[:12], after[:12])
    assert np.abs(after[12:]).min() > 1e3
