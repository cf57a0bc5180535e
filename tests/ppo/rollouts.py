"""Recorded rollouts of the size of a real one, in which everything moves: half of the mini-batches are clipped."""

from __future__ import annotations

import torch

from experiments.ppo.objective import MiniBatch
from experiments.ppo.samples import normalised

OBSERVATIONS, ACTIONS, SAMPLES, MINI_BATCH = 17, 6, 2048, 64


def recorded(seed: int, dtype: torch.dtype) -> MiniBatch:
    """All samples of one seed, as a batch of one."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(1, SAMPLES, OBSERVATIONS, generator=generator, dtype=torch.float64)
    actions = torch.randn(1, SAMPLES, ACTIONS, generator=generator, dtype=torch.float64)
    log_probabilities = -0.5 * actions.square().sum(-1) - 0.9189385332046727 * ACTIONS
    target = (observations[..., 0] * actions[..., 0]).tanh()
    values = 0.3 * torch.randn(1, SAMPLES, generator=generator, dtype=torch.float64)
    returns = target + observations[..., 1] + seed
    rows = (observations, actions, log_probabilities, returns - values, returns, values)
    return MiniBatch(*(row.to(dtype) for row in rows))


def mini_batches(whole: MiniBatch, seed: int, passes: int):
    """Mini-batches of `passes` passes, in an order of this seed's own."""
    generator = torch.Generator().manual_seed(1000 + seed)
    for _ in range(passes):
        order = torch.randperm(SAMPLES, generator=generator)
        for chosen in order.split(MINI_BATCH):
            batch = MiniBatch(*(row[:, chosen] for row in whole))
            yield batch._replace(advantages=normalised(batch.advantages))


def stacked(batches: list[MiniBatch]) -> MiniBatch:
    return MiniBatch(*(torch.cat(rows) for rows in zip(*batches, strict=True)))
