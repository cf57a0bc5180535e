"""From a rollout to shuffled mini-batches of each seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.data.streams import derive
from experiments.environments.normalization import RunningMoments
from experiments.ppo.advantages import advantages
from experiments.ppo.collection import Rollout
from experiments.ppo.objective import MiniBatch
from experiments.schema.task_sections import PPOConfig

RETURN_EPSILON = 1e-8  # Tianshou's, under the root
ADVANTAGE_EPSILON = 1e-8


@torch.no_grad()
def packed(config: PPOConfig, module: Any, rollout: Rollout, moments: RunningMoments) -> Tensor:
    """One row for each sample [S, T * E, columns]: a mini-batch is a choice of rows (see `mini_batches`).

    `moments` are those of the returns, which the values are fitted to in units of their deviation where
    `normalise_rewards` says so; they see this rollout's.
    """
    by_seed = rollout.observations.transpose(0, 1)
    values = _over_steps(module.value(by_seed.flatten(1, 2)), by_seed.shape[:3])
    scale: Any = moments.scale(RETURN_EPSILON) if config.normalise_rewards == "returns" else 1.0
    found = advantages(
        rollout.rewards.numpy(),
        values * scale,
        _next_values(module, rollout, values) * scale,
        rollout.ended.numpy(),
        config.gamma,
        config.gae_lambda,
    )
    returns = found + values * scale
    if config.normalise_rewards == "returns":
        moments.update(returns.transpose(1, 0, 2).reshape(returns.shape[1], -1))
    like = rollout.observations
    columns = [torch.from_numpy(array).to(like)[..., None] for array in (found, returns / scale, values)]
    rows = torch.cat([like, rollout.actions, rollout.log_probabilities[..., None], *columns], dim=-1)
    return rows.transpose(0, 1).flatten(1, 2)


def mini_batches(
    config: PPOConfig, samples: Tensor, actions: int, size: int, seeds: Sequence[int], *which: int
) -> list[MiniBatch]:
    """All samples in mini-batches of `size`, each seed's in an order of its own for (rollout, pass) `which`."""
    count = samples.shape[1]
    orders = []
    for index, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(derive(seed, "mini-batches", *which))
        orders.append(torch.randperm(count, generator=generator) + index * count)
    chosen = torch.stack(orders).unflatten(1, (count // size, size)).transpose(0, 1)
    shuffled = samples.flatten(0, 1)[chosen.reshape(-1).to(samples.device)].unflatten(0, chosen.shape)
    observations, done, numbers = shuffled.split([samples.shape[-1] - actions - 4, actions, 4], dim=-1)
    log_probabilities, gains, returns, values = numbers.movedim(-1, 0).contiguous()
    if config.normalise_advantages:
        gains = normalised(gains)
    columns = observations, done, log_probabilities, gains, returns, values
    return [MiniBatch(*parts) for parts in zip(*columns, strict=True)]


def normalised(advantages: Tensor) -> Tensor:
    """Advantages [..., n] with mean 0 and deviation 1 in each row (dividing by n - 1, as CleanRL does)."""
    deviation, mean = torch.std_mean(advantages, dim=-1, keepdim=True)
    return (advantages - mean) / (deviation + ADVANTAGE_EPSILON)


def _next_values(module: Any, rollout: Rollout, values: np.ndarray) -> np.ndarray:
    """Values of what the steps led to, 0 where the episode is over."""
    last = module.value(rollout.last_observations).double().cpu().numpy()
    following = np.concatenate([values[1:], last[None]])
    following[rollout.ended.numpy()] = 0.0
    if len(rollout.next_observations):
        following[rollout.bootstrapped.numpy()] = _values_of_chosen(module, rollout)
    return following


def _values_of_chosen(module: Any, rollout: Rollout) -> np.ndarray:
    """Values of `next_observations`, each by the critic of its own seed."""
    owner = rollout.bootstrapped.nonzero()[:, 1]
    every = rollout.next_observations[None].expand(rollout.rewards.shape[1], -1, -1)
    return module.value(every)[owner, torch.arange(len(owner))].double().cpu().numpy()


def _over_steps(values: Tensor, shape: Sequence[int]) -> np.ndarray:
    """[S, T * E] in any format as float64 [T, S, E]."""
    return values.double().cpu().numpy().reshape(*shape).transpose(1, 0, 2).copy()
