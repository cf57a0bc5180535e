"""Running normalisers against gymnasium's wrappers, against plain moments, and against themselves alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from experiments.environments.normalization import ObservationNormalizer, RewardNormalizer, RunningMoments

GAMMA = 0.99


def random_steps(seeds: int, rows: int, size: int, steps: int = 200):
    """Observations, final observations, rewards, terminated, truncated; an episode ends in one of ten steps."""
    generator = np.random.default_rng(1)
    for _ in range(steps):
        final = 3 + 7 * generator.standard_normal((seeds, rows, size))
        terminated, truncated = (generator.random((seeds, rows)) < 0.05 for _ in range(2))
        ended = terminated | truncated
        observations = np.where(ended[..., None], 100 * generator.standard_normal(final.shape), final)
        yield observations, final, generator.standard_normal((seeds, rows)), terminated, ended


def test_a_run_is_normalised_as_by_gymnasiums_wrappers():
    gymnasium = pytest.importorskip("gymnasium", reason="needs the extra ppo")
    pytest.importorskip("mujoco", reason="needs the extra ppo")
    from experiments.environments import make
    from experiments.environments.simulator import quiet_compiler

    wrappers = gymnasium.wrappers
    with quiet_compiler():
        plain = wrappers.ClipAction(gymnasium.make("Hopper-v4", disable_env_checker=True))
    normalized = wrappers.NormalizeObservation(plain)
    # gymnasium 1 begins with variance 1 and count 1e-4 in float32, gymnasium 0.29 (CleanRL's) and ours in float64.
    normalized.obs_rms = wrappers.utils.RunningMeanStd(shape=(11,))
    wrapped = wrappers.NormalizeReward(normalized, gamma=GAMMA)
    environment = make("Hopper", "mujoco", [4])
    observe, scale = ObservationNormalizer(1, 11), RewardNormalizer(1, 1, GAMMA)

    def clipped(values):
        return np.clip(values, -10, 10)

    def single(values):
        return values[0, 0].astype(np.float32)  # the wrapper casts what it gives

    np.testing.assert_array_equal(single(observe.start(environment.reset()[None])), clipped(wrapped.reset(seed=4)[0]))
    ends = 0
    for action in np.random.default_rng(0).standard_normal((2000, 1, 3)).astype(np.float32):
        expected, expected_reward, terminated, truncated, _ = wrapped.step(action[0])
        step = environment.step(action)
        observations, final = observe.step(step.observations[None], step.final_observations[None], step.ended[None])
        reward = scale.step(step.rewards[None], step.terminated[None])
        np.testing.assert_array_equal(single(final), clipped(expected))
        assert reward[0, 0] == clipped(expected_reward)
        if terminated or truncated:
            expected, ends = wrapped.reset()[0], ends + 1
        np.testing.assert_array_equal(single(observations), clipped(expected))
    assert ends > 20


def test_moments_of_several_environments_are_gymnasiums():
    utilities = pytest.importorskip("gymnasium.wrappers.utils", reason="needs the extra ppo")
    ours, theirs = RunningMoments(1, (5,)), utilities.RunningMeanStd(shape=(5,))
    for values in np.random.default_rng(0).standard_normal((100, 1, 8, 5)):
        ours.update(values)
        theirs.update(values[0])
    np.testing.assert_array_equal(ours.mean[0], theirs.mean)
    np.testing.assert_array_equal(ours.variance[0], theirs.var)
    assert ours.count[0, 0] == theirs.count


def test_moments_are_those_of_all_values_seen():
    moments, seen = RunningMoments(2, (4,), initial_count=0), [[], []]
    for observations, final, _, _, ended in random_steps(2, 3, 4):
        moments.update(final)
        moments.update_where(observations, ended)
        for seed in range(2):
            seen[seed] += [*final[seed], *observations[seed, ended[seed]]]
    for seed in range(2):
        np.testing.assert_allclose(moments.mean[seed], np.mean(seen[seed], axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.variance[seed], np.var(seen[seed], axis=0), rtol=1e-12)
        assert moments.count[seed, 0] == len(seen[seed])


@pytest.mark.parametrize("rows", [1, 4])
def test_seeds_do_not_mix(rows):
    together = ObservationNormalizer(3, 6), RewardNormalizer(3, rows, GAMMA)
    alone = [(ObservationNormalizer(1, 6), RewardNormalizer(1, rows, GAMMA)) for _ in range(3)]
    for observations, final, rewards, terminated, ended in random_steps(3, rows, 6):
        got = [*together[0].step(observations, final, ended), together[1].step(rewards, terminated)]
        for seed, (observe, scale) in enumerate(alone):
            own = slice(seed, seed + 1)
            expected = [
                *observe.step(observations[own], final[own], ended[own]),
                scale.step(rewards[own], terminated[own]),
            ]
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a[own], b)


def test_a_saved_normaliser_goes_on_bit_for_bit_and_other_shapes_are_refused():
    observe, scale = ObservationNormalizer(2, 3), RewardNormalizer(2, 2, GAMMA)
    steps = list(random_steps(2, 2, 3))
    for observations, final, rewards, terminated, ended in steps[:100]:
        observe.step(observations, final, ended)
        scale.step(rewards, terminated)
    file = io.BytesIO()
    torch.save([observe.state(), scale.state()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    copies = ObservationNormalizer(2, 3), RewardNormalizer(2, 2, GAMMA)
    for copy, state in zip(copies, states, strict=True):
        copy.load(state)
    for observations, final, rewards, terminated, ended in steps[100:]:
        for a, b in zip(
            copies[0].step(observations, final, ended), observe.step(observations, final, ended), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(copies[1].step(rewards, terminated), scale.step(rewards, terminated))
    with pytest.raises(ValueError, match=r"mean of a normaliser has shape \(2, 3\), not \(2, 4\)"):
        ObservationNormalizer(2, 4).load(states[0])
    with pytest.raises(ValueError, match=r"discounted of a normaliser has shape \(2, 2\), not \(2, 1\)"):
        RewardNormalizer(2, 1, GAMMA).load(states[1])


def test_an_evaluation_leaves_the_statistics_alone():
    observe = ObservationNormalizer(2, 3)
    for observations, final, _, _, ended in random_steps(2, 1, 3):
        observe.step(observations, final, ended)
    before = observe.state()
    got = observe.normalize(np.full((2, 10, 3), 4.0))  # another number of environments
    assert got.shape == (2, 10, 3)
    np.testing.assert_allclose(
        got[1, 0], (4 - observe.moments.mean[1]) / np.sqrt(observe.moments.variance[1] + 1e-8), rtol=1e-14
    )
    assert all(torch.equal(before[name], value) for name, value in observe.state().items())
    assert np.abs(observe.normalize(np.full((2, 1, 3), 1e6))).max() == 10
