"""Every engine offers this: n rows of one game that step together and start anew in the step in which they end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.environments.games import GAMES
from experiments.schema.errors import UserError

Array = NDArray[Any]


class Step(NamedTuple):
    """Holds what one step of n rows gave; o is the size of an observation. Arrays are not written again by later
    steps."""

    observations: Array
    """[n, o] float64: what the next action answers; where an episode ended, the first of the next one."""
    rewards: Array
    """[n] float64"""
    terminated: Array
    """[n] bool: the game ended the episode (there is no future reward)."""
    truncated: Array
    """[n] bool: the time limit ended it (there would have been). Both can be true."""
    final_observations: Array
    """[n, o] float64: what this step led to: the last of the episode where one ended, else as `observations`."""
    episode_returns: Array
    """[n] float64: sum of the rewards of the row's episode up to this step; its return where it ended."""
    episode_lengths: Array
    """[n] int64: number of steps of the row's episode up to this one."""

    @property
    def ended(self) -> Array:
        """[n] bool: where an episode ended."""
        return self.terminated | self.truncated


class VectorEnvironment(ABC):
    """n rows of a game; row i is an environment of its own, with a generator seeded by `seeds[i]`.

    Rows end by themselves and start anew in the same step, going on with their own generator, as gymnasium's vector
    environments do in `AutoresetMode.SAME_STEP`.
    """

    engine: str
    observation_size: int
    action_size: int
    action_low: Array
    """[action_size] float32, as gymnasium's action space"""
    action_high: Array
    observations: Array
    """[n, o]: what the next action answers (the latest result of `reset`, `step` or `load`)"""

    def __init__(self, game: str, seeds: Sequence[int]):
        if not len(seeds):
            raise ValueError("an environment needs at least one row: seeds is empty")
        self.game = game
        self.rules = GAMES[game]
        self.rows = len(seeds)
        self.seeds = [int(seed) for seed in seeds]
        self._returns = np.zeros(self.rows)
        self._lengths = np.zeros(self.rows, np.int64)

    @property
    def identity(self) -> dict[str, str]:
        """Return what decides the numbers: see `simulator.identity`."""
        from experiments.environments import simulator

        return simulator.identity(self.game, self.engine)

    def reset(self, seeds: Sequence[int] | None = None) -> Array:
        """Start every row over from its seed, or from new `seeds`, as gymnasium's `reset(seed=...)`: observations."""
        if seeds is not None:
            if len(seeds) != self.rows:
                raise ValueError(f"{len(seeds)} seeds were given for {self.rows} rows")
            self.seeds = [int(seed) for seed in seeds]
        self._returns = np.zeros(self.rows)
        self._lengths = np.zeros(self.rows, np.int64)
        self.observations = self._start_over()
        return self.observations

    def step(self, actions: Any, going: Array | None = None) -> Step:
        """Take one action in each row; `actions` is [n, a], float32 or float64.

        Rows where `going` [n] bool, if given, is False rest: they stay where they are, at no cost, and gain nothing.

        Actions are clipped to the bounds first, as by gymnasium's ClipAction (so in CleanRL's stack of wrappers), and
        control costs are of the clipped action. They are computed in the dtype of the actions, as gymnasium does.
        """
        actions = np.asarray(actions)
        if actions.shape != (self.rows, self.action_size):
            raise ValueError(f"actions have shape {actions.shape}, not {(self.rows, self.action_size)}")
        actions = np.minimum(np.maximum(actions, self.action_low), self.action_high)
        self._lengths = lengths = self._lengths + (1 if going is None else going)
        if going is None:
            final, rewards, terminated, truncated = self._advance(actions, None)
        else:
            final, rewards, terminated, truncated = self._advance(actions, np.flatnonzero(going))
            final = np.where(going[:, None], final, self.observations)
            rewards, terminated, truncated = np.where(going, rewards, 0.0), terminated & going, truncated & going
        self._returns = returns = self._returns + rewards
        observations = final
        ended = terminated | truncated
        if ended.any():
            rows = np.flatnonzero(ended)
            observations = final.copy()
            observations[rows] = self._start(rows)
            self._returns = np.where(ended, 0.0, returns)
            self._lengths = np.where(ended, 0, lengths)
        self.observations = observations
        return Step(observations, rewards, terminated, truncated, final, returns, lengths)

    def state(self) -> dict[str, Any]:
        """Everything that decides how the rows go on, as tensors, numbers and strings (no pickles but torch's own)."""
        arrays = {
            "observations": self.observations,
            "returns": self._returns,
            "lengths": self._lengths,
            **self._simulator_state(),
        }
        import torch

        return {
            "identity": self.identity,
            "seeds": list(self.seeds),
            "generators": [generator.bit_generator.state for generator in self._generators()],
            **{name: torch.from_numpy(array.copy()) for name, array in arrays.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on, bit for bit, where `state` was taken.

        Raises UserError when it was taken from another game, engine or version, or from another number of rows.
        """
        for key, here in self.identity.items():
            if state["identity"].get(key) != here:
                raise UserError(
                    f"the saved environment has {key}={state['identity'].get(key)!r}, this one {here!r}: "
                    "it would not go on as it was"
                )
        if len(state["seeds"]) != self.rows:
            raise UserError(f"the saved environment has {len(state['seeds'])} rows, this one {self.rows}")
        self.seeds = list(state["seeds"])
        arrays = {name: value.numpy().copy() for name, value in state.items() if hasattr(value, "numpy")}
        self._load_simulator(arrays)
        for generator, saved in zip(self._generators(), state["generators"], strict=True):
            generator.bit_generator.state = saved
        self.observations = arrays["observations"]
        self._returns, self._lengths = arrays["returns"], arrays["lengths"]

    @abstractmethod
    def close(self) -> None:
        """Give back what the simulator holds; the environment cannot be used afterwards."""

    @abstractmethod
    def _start_over(self) -> Array:
        """Seed the generators and start every row: observations [n, o]."""

    @abstractmethod
    def _start(self, rows: Array) -> Array:
        """Start these rows anew, by their generators: their observations [len(rows), o]."""

    @abstractmethod
    def _advance(self, actions: Array, rows: Array | None) -> tuple[Array, Array, Array, Array]:
        """Step these rows (None: all). Observations, rewards, terminated, truncated of all, whatever in those that
        rest; `_lengths` counts this step already."""

    @abstractmethod
    def _generators(self) -> list[np.random.Generator]:
        """The generators of the rows."""

    @abstractmethod
    def _simulator_state(self) -> dict[str, Array]:
        """Arrays that decide how the simulation goes on, first dimension n."""

    @abstractmethod
    def _load_simulator(self, arrays: dict[str, Array]) -> None:
        """Inverse of `_simulator_state`."""
