"""Engine `gymnasium`: one gymnasium environment for each row, in turn. Plain, slower, and what ours must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

from experiments.environments.simulator import quiet_compiler
from experiments.environments.vector_environment import Array, VectorEnvironment

# Physics, inputs and the solver's warm start: what decides how a simulation goes on.
WHOLE_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
# Fields of MjData, one sub-step old, that Ant, Humanoid and Reacher read before their next step.
READ_BEFORE_A_STEP = ("xpos", "xipos")


class LoopedEnvironment(VectorEnvironment):
    """`gymnasium.make(game-v4)` for each row."""

    engine = "gymnasium"

    def __init__(self, game: str, seeds: Sequence[int]):
        super().__init__(game, seeds)
        with quiet_compiler():
            self._environments = [gymnasium.make(f"{game}-v4", disable_env_checker=True) for _ in self.seeds]
        space: Any = self._environments[0].action_space
        self.action_size = space.shape[0]
        self.action_low, self.action_high = space.low, space.high
        self.observation_size = (self._environments[0].observation_space.shape or (0,))[0]
        self.reset()

    def simulations(self) -> list[Any]:
        """gymnasium's bare environments: their `model`, `data` and `dt` are there to be looked at."""
        return [environment.unwrapped for environment in self._environments]

    def _start_over(self) -> Array:
        pairs = zip(self._environments, self.seeds, strict=True)
        return np.stack([environment.reset(seed=seed)[0] for environment, seed in pairs])

    def _start(self, rows: Array) -> Array:
        return np.stack([self._environments[row].reset()[0] for row in rows])

    def _advance(self, actions: Array, rows: Array | None) -> tuple[Array, Array, Array, Array]:
        observations, rewards = self.observations.copy(), np.zeros(self.rows)
        terminated, truncated = np.zeros((2, self.rows), bool)
        for row in range(self.rows) if rows is None else rows:
            observations[row], rewards[row], terminated[row], truncated[row], _ = self._environments[row].step(
                actions[row]
            )
        return observations, rewards, terminated, truncated

    def _generators(self) -> list[np.random.Generator]:
        return [environment.unwrapped.np_random for environment in self._environments]

    def _simulator_state(self) -> dict[str, Array]:
        whole = np.empty((self.rows, mujoco.mj_stateSize(self.simulations()[0].model, WHOLE_STATE)))
        for row, simulation in zip(whole, self.simulations(), strict=True):
            mujoco.mj_getState(simulation.model, simulation.data, row, WHOLE_STATE)
        fields = {
            name: np.stack([getattr(simulation.data, name) for simulation in self.simulations()])
            for name in READ_BEFORE_A_STEP
        }
        return {"simulator": whole, **fields}

    def _load_simulator(self, arrays: dict[str, Array]) -> None:
        for row, simulation in enumerate(self.simulations()):
            mujoco.mj_setState(simulation.model, simulation.data, arrays["simulator"][row], WHOLE_STATE)
            for name in READ_BEFORE_A_STEP:
                getattr(simulation.data, name)[:] = arrays[name][row]
        for environment, length in zip(self._environments, arrays["lengths"], strict=True):
            _time_limit(environment)._elapsed_steps = int(length)

    def close(self) -> None:
        for environment in self._environments:
            environment.close()


def _time_limit(environment: gymnasium.Env) -> Any:
    """The wrapper that counts steps; gymnasium offers no public way to set its count."""
    while not isinstance(environment, gymnasium.wrappers.TimeLimit):
        assert isinstance(environment, gymnasium.Wrapper)
        environment = environment.env
    return environment
