"""Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438)."""

from __future__ import annotations

import numpy as np


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Advantages [steps, rows] of a rollout; the returns to fit the values to are `advantages + values`.

    `next_values` are those of the observations that the steps led to, before any reset, and 0 where nothing follows;
    `ended` tells after which steps another episode began. All are [steps, rows].
    """
    deltas = rewards + gamma * next_values - values
    decay = gamma * gae_lambda * ~ended
    result = np.empty_like(deltas)
    carried = np.zeros_like(deltas[0])
    for step in range(len(deltas) - 1, -1, -1):
        carried = deltas[step] + decay[step] * carried
        result[step] = carried
    return result
