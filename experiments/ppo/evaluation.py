"""Episodes on separate environments, under policies and normalisers as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from experiments.data.streams import derive
from experiments.environments import make
from experiments.ppo.collection import Sampler, to_environment

NOISE_STEPS = 64  # drawn at once


class Evaluation:
    """Plays `evaluation_episodes` episodes of each seed with actions drawn from its policy.

    Both CleanRL's and Tianshou's evaluations draw (ppo_eval.py; `deterministic_eval` is false in mujoco_ppo.py).
    """

    def __init__(self, sampler: Sampler) -> None:
        config, self.sampler = sampler.config, sampler
        self.episodes = config.evaluation_episodes
        self.environment = make(config.game, config.engine, [0] * (len(sampler.seeds) * self.episodes))

    @torch.no_grad()
    def __call__(self, module: Any, update: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns and lengths [S, episodes]: the first episode of each environment, so that short ones are not
        favoured. A function of policies, normalisers and (seed, update)."""
        sampler, environment = self.sampler, self.environment
        mean_of, deviation = module.acting(), module.policy_log_std().exp().cpu().numpy()
        rows = [derive(seed, "evaluation", update, row) for seed in sampler.seeds for row in range(self.episodes)]
        observations = environment.reset(rows)
        streams = [torch.Generator().manual_seed(derive(seed, "evaluation", update)) for seed in sampler.seeds]
        returns, lengths = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
        going, step = np.ones(len(rows), dtype=bool), 0
        while going.any():
            if step % NOISE_STEPS == 0:
                shape = NOISE_STEPS, self.episodes, environment.action_size
                noise = torch.stack([torch.randn(shape, generator=stream) for stream in streams], dim=1).numpy()
            seen = observations.reshape(len(sampler.seeds), self.episodes, -1)
            if sampler.config.normalise_observations:
                seen = sampler.normalizer.normalize(seen)
            actions = mean_of(seen.astype(deviation.dtype)) + deviation * noise[step % NOISE_STEPS]
            outcome = environment.step(to_environment(sampler.config, environment, actions), going)
            over = outcome.ended
            returns[over], lengths[over] = outcome.episode_returns[over], outcome.episode_lengths[over]
            going &= ~over
            observations, step = outcome.observations, step + 1
        return returns.reshape(-1, self.episodes), lengths.reshape(-1, self.episodes)
