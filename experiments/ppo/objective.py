"""PPO's loss of a mini-batch, one number for each seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.schema.task_sections import PPOConfig

LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


class MiniBatch(NamedTuple):
    """Holds what was seen, done and expected in n steps of each seed: [S, n, size] or [S, n].

    Advantages are normalised already, where the recipe says so.
    """

    observations: Tensor
    actions: Tensor
    log_probabilities: Tensor
    advantages: Tensor
    returns: Tensor
    values: Tensor


@dataclass(frozen=True)
class Objective:
    """Clipped surrogate, value loss and entropy bonus, with the constants of a recipe."""

    config: PPOConfig

    def __call__(self, module: Any, batch: MiniBatch) -> Tensor:
        """Losses [S], each a sum over its own mini-batch."""
        mean, log_std, value = module(batch.observations)
        ratio = (log_probability(batch.actions, mean, log_std) - batch.log_probabilities).exp()
        advantage, clip = batch.advantages, self.config.clip
        policy = torch.max(-advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip)).sum(1)
        error = (value - batch.returns).square()
        if self.config.clip_value:
            clipped = batch.values + (value - batch.values).clamp(-clip, clip)
            error = torch.max(error, (clipped - batch.returns).square())
        loss = policy + self.config.value_coefficient * 0.5 * error.sum(1)
        if self.config.entropy_coefficient:
            loss = loss - self.config.entropy_coefficient * error.shape[1] * entropy(log_std).squeeze(1)
        return loss


def log_probability(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log density [..., n] of actions [..., n, size] under a Gaussian with independent components."""
    return log_probability_of((actions - mean) * (-log_std).exp(), log_std)


def log_probability_of(standard: Tensor, log_std: Tensor) -> Tensor:
    """The same of actions that lie `standard` deviations [..., n, size] from the mean."""
    return -0.5 * standard.square().sum(-1) - (log_std.sum(-1) + LOG_ROOT_TAU * standard.shape[-1])


def entropy(log_std: Tensor) -> Tensor:
    """Differential entropy of such a Gaussian, summed over components."""
    return (log_std + LOG_ROOT_TAU + 0.5).sum(-1)
