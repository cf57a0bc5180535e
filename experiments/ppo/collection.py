"""Rollouts: steps of S x E environments under the policies of S seeds, with their running normalisers.

What a rollout draws is a function of (seed, rollout): noise has a stream of its own for each, and each environment has
its own generator, which is part of `state`. So is the simulator, and what the normalisers have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.data.streams import derive
from experiments.environments import Step, VectorEnvironment, make
from experiments.environments.normalization import ObservationNormalizer, RewardNormalizer
from experiments.ppo.objective import log_probability_of
from experiments.schema.task_sections import PPOConfig

TIANSHOU_EPSILON, TIANSHOU_COUNT = 2**-23, 0.0  # of its observation normaliser


@dataclass
class Rollout:
    """T steps of E environments of each of S seeds, normalised: [T, S, E, size] or [T, S, E].

    `next_observations` follow the steps where `bootstrapped` says that their value counts though the episode ended
    (its time was up); elsewhere they are not kept. `last_observations` [S, E, size] come after the last step.
    """

    observations: Tensor
    actions: Tensor
    log_probabilities: Tensor
    rewards: Tensor
    ended: Tensor
    bootstrapped: Tensor
    next_observations: Tensor
    last_observations: Tensor

    def state(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {field.name: getattr(self, field.name).clone() for field in fields(self)}


class Sampler:
    """The environments of S seeds, between one rollout and the next."""

    def __init__(self, config: PPOConfig, seeds: Sequence[int]) -> None:
        """Raises UserError for a game or an engine that is not there."""
        self.config, self.seeds = config, list(seeds)
        self.shape = len(self.seeds), config.environments
        streams = [derive(seed, "environment", row) for seed in self.seeds for row in range(config.environments)]
        self.environment: VectorEnvironment = make(config.game, config.engine, streams)
        of_tianshou = {"epsilon": TIANSHOU_EPSILON, "initial_count": TIANSHOU_COUNT}
        own = of_tianshou if config.normalise_rewards == "returns" else {}
        self.normalizer = ObservationNormalizer(len(self.seeds), self.environment.observation_size, **own)
        self.reward_normalizer = RewardNormalizer(*self.shape, config.gamma)
        self.observations = self._seen(self.environment.reset(), self.normalizer.start)

    @torch.no_grad()
    def collect(self, module: Any, index: int) -> Rollout:
        """The rollout of this index (from 0) under the policies of `module`, in its number format."""
        steps = self.config.rollout_steps // self.config.environments
        like = next(module.parameters())
        size, actions_size = self.environment.observation_size, self.environment.action_size
        noise = self._noise("action", index, steps, actions_size).to(like.dtype).numpy()
        observations = np.empty((steps, *self.shape, size), noise.dtype)
        actions = np.empty_like(noise)
        rewards = np.empty((steps, *self.shape))
        terminated, truncated, bootstrapped = np.zeros((3, steps, *self.shape), dtype=bool)
        kept: list[np.ndarray] = []
        mean_of, log_std = module.acting(), module.policy_log_std()
        scaled = noise * log_std.exp().cpu().numpy()
        for step in range(steps):
            observations[step] = self.observations
            actions[step] = mean_of(observations[step]) + scaled[step]
            seen = self.environment.step(to_environment(self.config, self.environment, actions[step]))
            rewards[step] = seen.rewards.reshape(self.shape)
            terminated[step] = seen.terminated.reshape(self.shape)
            truncated[step] = seen.truncated.reshape(self.shape)
            final = self._advance(seen)
            if self.config.bootstrap_truncated and seen.truncated.any():
                bootstrapped[step] = truncated[step] & ~terminated[step]
                kept.append(final[bootstrapped[step]])
        return Rollout(
            observations=torch.from_numpy(observations).to(like),
            actions=torch.from_numpy(actions).to(like),
            log_probabilities=log_probability_of(torch.from_numpy(noise).to(like), log_std),
            rewards=torch.from_numpy(self._rewards(rewards, terminated)),
            ended=torch.from_numpy(terminated | truncated),
            bootstrapped=torch.from_numpy(bootstrapped),
            next_observations=torch.from_numpy(np.concatenate([np.empty((0, size)), *kept])).to(like),
            last_observations=torch.from_numpy(self.observations).to(like),
        )

    def state(self) -> dict[str, Any]:
        """Return what decides all later rollouts, beside the policies."""
        return {
            "environment": self.environment.state(),
            "normalizer": self.normalizer.state(),
            "reward_normalizer": self.reward_normalizer.state(),
            "observations": torch.from_numpy(self.observations.copy()),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.environment.load(state["environment"])
        self.normalizer.load(state["normalizer"])
        self.reward_normalizer.load(state["reward_normalizer"])
        self.observations = state["observations"].numpy().copy()

    def _noise(self, purpose: str, index: int, steps: int, size: int) -> Tensor:
        """Standard normal [steps, S, E, size], a stream for each seed."""
        drawn = []
        for seed in self.seeds:
            generator = torch.Generator().manual_seed(derive(seed, purpose, index))
            drawn.append(torch.randn(steps, self.shape[1], size, generator=generator))
        return torch.stack(drawn, dim=1)

    def _rewards(self, rewards: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        """Return rewards as the learner sees them, [T, S, E]."""
        if self.config.normalise_rewards != "rewards":
            return rewards
        return np.stack([self.reward_normalizer.step(*pair) for pair in zip(rewards, terminated, strict=True)])

    def _advance(self, seen: Step) -> np.ndarray:
        """Take in what a step showed; return what it led to, normalised [S, E, size]."""
        observations, final = self._shaped(seen.observations), self._shaped(seen.final_observations)
        if self.config.normalise_observations:
            observations, final = self.normalizer.step(observations, final, self._shaped(seen.ended))
        self.observations = observations
        return final

    def _seen(self, observations: np.ndarray, normalise: Any) -> np.ndarray:
        shaped = self._shaped(observations)
        return normalise(shaped) if self.config.normalise_observations else shaped

    def _shaped(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(*self.shape, *rows.shape[1:])


def to_environment(config: PPOConfig, environment: VectorEnvironment, actions: np.ndarray) -> np.ndarray:
    """Actions [S, E, size] as rows for the environment, which clips them itself."""
    rows = actions.reshape(-1, actions.shape[-1])
    if config.scale_actions:
        low, high = environment.action_low, environment.action_high
        rows = low + (high - low) * (np.clip(rows, -1.0, 1.0) + 1.0) / 2.0
    return rows
