"""Running normalisers of observations and rewards, with statistics of their own for each of S seeds.

Arrays are [S, E, ...]: seed, then the E environments of that seed, whose values enter its statistics together. With
S = E = 1 every number is that of gymnasium's wrappers NormalizeObservation and NormalizeReward (CleanRL uses them, and
clips what they give to +-10). Tianshou's VectorEnvNormObs does the same arithmetic over its E environments, from
`initial_count=0` and with `epsilon=2**-23`. All in float64 (gymnasium 1, unlike 0.29, rounds its first variance and
everything that it gives to float32).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CLIP, EPSILON, INITIAL_COUNT = 10.0, 1e-8, 1e-4


class RunningMoments:
    """Mean and variance of all values seen, for each seed; updated batch by batch (Chan, Golub and LeVeque 1979).

    `mean` and `variance` are [S, *shape], `count` is [S, 1, ...]. It begins with mean 0 and variance 1, which weigh as
    much as `initial_count` values.
    """

    def __init__(self, seeds: int, shape: tuple[int, ...] = (), initial_count: float = INITIAL_COUNT):
        self.mean = np.zeros((seeds, *shape))
        self.variance = np.ones((seeds, *shape))
        self.count = np.full((seeds, *(1 for _ in shape)), float(initial_count))

    def update(self, values: Array) -> None:
        """Add `values` [S, E, *shape]."""
        self.mean, self.variance, self.count = _joined(self.mean, self.variance, self.count, values)

    def update_where(self, values: Array, where: Array) -> None:
        """Add those of `values` [S, E, *shape] that `where` [S, E] marks; few are expected."""
        for seed in np.flatnonzero(where.any(axis=1)):
            own = slice(seed, seed + 1)
            self.mean[own], self.variance[own], self.count[own] = _joined(
                self.mean[own], self.variance[own], self.count[own], values[own, where[seed]]
            )

    def scale(self, epsilon: float) -> Array:
        """sqrt(variance + epsilon), [S, 1, *shape]."""
        return np.sqrt(self.variance + epsilon)[:, None]

    def state(self) -> dict[str, Any]:
        """The statistics, as tensors."""
        return _tensors(mean=self.mean, variance=self.variance, count=self.count)

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`; raises ValueError when the state is of other seeds or another shape."""
        mean, variance, count = (_array(state, name, getattr(self, name)) for name in ("mean", "variance", "count"))
        self.mean, self.variance, self.count = mean, variance, count


class ObservationNormalizer:
    """Observations less their running mean, over their running standard deviation, clipped to +-`clip`.

    The statistics also see the last observation of an episode, before the first of the next one, as the wrappers do.
    """

    def __init__(
        self,
        seeds: int,
        size: int,
        clip: float = CLIP,
        epsilon: float = EPSILON,
        initial_count: float = INITIAL_COUNT,
    ):
        self.moments = RunningMoments(seeds, (size,), initial_count)
        self.clip, self.epsilon = clip, epsilon

    def start(self, observations: Array) -> Array:
        """Normalise the observations [S, E, o] of a reset of all rows; the statistics see them."""
        self.moments.update(observations)
        return self.normalize(observations)

    def step(self, observations: Array, final_observations: Array, ended: Array) -> tuple[Array, Array]:
        """Normalise both observations of a step, [S, E, o]; `ended` is [S, E]. The statistics see all final ones,
        then the first ones of new episodes. Where no episode ended, both results are the same."""
        self.moments.update(final_observations)
        final = self.normalize(final_observations)
        if not ended.any():
            return final, final
        self.moments.update_where(observations, ended)
        return np.where(ended[..., None], self.normalize(observations), final), final

    def normalize(self, observations: Array) -> Array:
        """Normalise [S, E, o] (any E) with the statistics as they are: what an evaluation uses."""
        centred = observations - self.moments.mean[:, None]
        centred /= self.moments.scale(self.epsilon)
        return _clipped(centred, self.clip)

    def state(self) -> dict[str, Any]:
        """The statistics, as tensors."""
        return self.moments.state()

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.moments.load(state)


class RewardNormalizer:
    """Rewards over the running standard deviation of the discounted sum of past rewards, clipped to +-`clip`.

    The sum forgets the past where an episode is terminated, not where it is truncated, as gymnasium's does.
    """

    def __init__(
        self,
        seeds: int,
        rows: int,
        gamma: float,
        clip: float = CLIP,
        epsilon: float = EPSILON,
        initial_count: float = INITIAL_COUNT,
    ):
        self.moments = RunningMoments(seeds, (), initial_count)
        self.discounted = np.zeros((seeds, rows))
        self.gamma, self.clip, self.epsilon = gamma, clip, epsilon

    def step(self, rewards: Array, terminated: Array) -> Array:
        """Normalise the rewards [S, E] of a step; the statistics see them. `terminated` is [S, E]."""
        self.discounted = self.discounted * self.gamma * ~terminated + rewards
        self.moments.update(self.discounted)
        return self.normalize(rewards)

    def normalize(self, rewards: Array) -> Array:
        """Normalise [S, E] with the statistics as they are."""
        return _clipped(rewards / self.moments.scale(self.epsilon), self.clip)

    def state(self) -> dict[str, Any]:
        """The statistics and the discounted sums, as tensors."""
        return {**self.moments.state(), **_tensors(discounted=self.discounted)}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        discounted = _array(state, "discounted", self.discounted)
        self.moments.load(state)
        self.discounted = discounted


def _joined(mean: Array, variance: Array, count: Array, values: Array) -> tuple[Array, Array, Array]:
    """Moments of what was seen and `values` [S, E, ...] together."""
    size = values.shape[1]
    total = count + size
    squares = variance * count
    if size == 1:  # the same numbers with half the calls: this is the common case, and calls are what it costs
        delta = values[:, 0] - mean
        squares += np.square(delta) * count / total
        squares /= total
        delta /= total
        return mean + delta, squares, total
    batch_mean = np.add.reduce(values, axis=1) / size
    delta = batch_mean - mean
    squares = squares + np.add.reduce(np.square(values - batch_mean[:, None]), axis=1) / size * size
    squares = squares + np.square(delta) * count * size / total
    return mean + delta * size / total, squares / total, total


def _clipped(values: Array, clip: float) -> Array:
    """`values` within +-`clip`, in place."""
    np.maximum(values, -clip, out=values)
    return np.minimum(values, clip, out=values)


def _tensors(**arrays: Array) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _array(state: dict[str, Any], name: str, like: Array) -> Array:
    array = state[name].numpy().copy()
    if array.shape != like.shape:
        raise ValueError(f"the saved {name} of a normaliser has shape {array.shape}, not {like.shape}")
    return array
