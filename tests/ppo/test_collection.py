"""What a rollout holds, against the environment played again by hand, and the values that follow its ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.data.streams import derive
from experiments.environments import make
from experiments.environments.normalization import ObservationNormalizer, RewardNormalizer, RunningMoments
from experiments.models.actor_critic import ActorCritic, StackedActorCritic
from experiments.ppo.advantages import advantages
from experiments.ppo.collection import Sampler
from experiments.ppo.samples import mini_batches, packed
from experiments.schema.task_sections import PPOConfig

SEEDS, ENVIRONMENTS, STEPS = [5, 6], 2, 60
REACHER = {"game": "Reacher", "environments": ENVIRONMENTS, "rollout_steps": STEPS * ENVIRONMENTS}


def agents() -> StackedActorCritic:
    torch.manual_seed(0)
    return StackedActorCritic([ActorCritic(11, 2, gain=3.0) for _ in SEEDS]).double()


def test_a_rollout_is_what_playing_its_actions_gives():
    """Reacher's episodes end after 50 steps, by time: both observations of an end are seen by the normaliser."""
    rollout = Sampler(PPOConfig(**REACHER), SEEDS).collect(agents(), 0)
    environment = make(
        "Reacher", "mujoco", [derive(seed, "environment", row) for seed in SEEDS for row in range(ENVIRONMENTS)]
    )
    normalizer = ObservationNormalizer(len(SEEDS), 11)
    scale = RewardNormalizer(len(SEEDS), ENVIRONMENTS, 0.99)
    shape = len(SEEDS), ENVIRONMENTS
    observations = normalizer.start(environment.reset().reshape(*shape, -1))
    for step in range(STEPS):
        np.testing.assert_array_equal(rollout.observations[step].numpy(), observations)
        seen = environment.step(rollout.actions[step].reshape(-1, 2).numpy())
        rewards = scale.step(seen.rewards.reshape(shape), seen.terminated.reshape(shape))
        np.testing.assert_array_equal(rollout.rewards[step].numpy(), rewards)
        assert rollout.ended[step].all() == (step == 49)
        observations, _ = normalizer.step(
            seen.observations.reshape(*shape, -1),
            seen.final_observations.reshape(*shape, -1),
            seen.ended.reshape(shape),
        )
    np.testing.assert_array_equal(rollout.last_observations.numpy(), observations)


def test_log_probabilities_are_those_of_the_actions_under_the_policies():
    module = agents()
    rollout = Sampler(PPOConfig(**REACHER), SEEDS).collect(module, 0)
    mean, log_std = module.policy(rollout.observations.transpose(0, 1).flatten(1, 2))
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(rollout.actions.transpose(0, 1).flatten(1, 2))
    found = rollout.log_probabilities.transpose(0, 1).flatten(1, 2)
    torch.testing.assert_close(found, expected.sum(-1), rtol=1e-10, atol=1e-10)


def test_where_time_is_up_the_value_of_the_last_observation_counts_only_if_asked_for():
    module = agents()
    for bootstrap in (False, True):
        config = PPOConfig(
            **REACHER, normalise_observations=False, normalise_rewards="none", bootstrap_truncated=bootstrap
        )
        rollout = Sampler(config, SEEDS).collect(module, 0)
        last = module.value(rollout.next_observations[None].expand(len(SEEDS), -1, -1)) if bootstrap else None
        values = module.value(rollout.observations.transpose(0, 1).flatten(1, 2)).unflatten(1, (STEPS, ENVIRONMENTS))
        values = values.transpose(0, 1).detach().numpy()
        following = np.concatenate([values[1:], module.value(rollout.last_observations).detach().numpy()[None]])
        following[49] = 0.0
        if last is not None:
            assert rollout.bootstrapped[49].all() and rollout.bootstrapped.sum() == len(SEEDS) * ENVIRONMENTS
            own = last.unflatten(1, (len(SEEDS), ENVIRONMENTS))
            following[49] = torch.stack([own[seed, seed] for seed in range(len(SEEDS))]).detach().numpy()
        expected = advantages(rollout.rewards.numpy(), values, following, rollout.ended.numpy(), 0.99, 0.95)
        samples = packed(config, module, rollout, RunningMoments(len(SEEDS), initial_count=0.0))
        found = samples[..., -3].unflatten(1, (STEPS, ENVIRONMENTS)).transpose(0, 1).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_every_pass_sees_every_sample_of_every_seed_once_in_an_order_of_its_own():
    samples = torch.arange(2 * 12, dtype=torch.float64).reshape(2, 12, 1).expand(2, 12, 8)
    orders = []
    for passage in (0, 1):
        batches = mini_batches(PPOConfig(), samples, 2, 4, SEEDS, 0, passage)
        rows = torch.cat([batch.returns for batch in batches], dim=1)
        assert [batch.returns.shape for batch in batches] == [(2, 4)] * 3
        assert rows.sort(1).values.tolist() == samples[..., 0].tolist()
        orders += rows.remainder(12).tolist()
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("normalise", [True, False])
def test_advantages_are_normalised_within_the_mini_batch_of_each_seed(normalise):
    samples = torch.randn(2, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    samples[..., -1] = torch.arange(12)
    for batch in mini_batches(PPOConfig(normalise_advantages=normalise), samples, 2, 4, SEEDS, 0, 0):
        for own, advantages_found, values in zip(samples, batch.advantages, batch.values, strict=True):
            expected = own[values.long(), -3]
            if normalise:
                expected = (expected - expected.mean()) / expected.std()
            torch.testing.assert_close(advantages_found, expected, rtol=1e-6, atol=1e-6)


def test_what_a_seed_samples_does_not_depend_on_who_shares_its_process():
    config = PPOConfig(**REACHER)
    together, alone = agents(), agents().agents()[1]
    both, own = Sampler(config, SEEDS).collect(together, 3), Sampler(config, SEEDS[1:]).collect(alone, 3)
    torch.testing.assert_close(both.observations[:, 1:], own.observations, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(both.rewards[:, 1:], own.rewards, rtol=1e-7, atol=1e-7)
