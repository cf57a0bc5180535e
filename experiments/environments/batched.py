"""Engine `mujoco`: all rows step in one call of mujoco's batch API; the rules are numpy over rows (`games`)."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from mujoco.batch import Batch

from experiments.environments.simulator import load_model
from experiments.environments.vector_environment import Array, VectorEnvironment


class BatchedEnvironment(VectorEnvironment):
    """Rows of a `mujoco.batch.Batch`; results do not depend on `threads`."""

    engine = "mujoco"

    def __init__(self, game: str, seeds: Sequence[int], threads: int = 1):
        super().__init__(game, seeds)
        model = load_model(self.rules.model_file)
        self._batch = Batch(model, self.rows, threads, persistent=self.rules.keeps_simulations)
        self._game = self.rules(self._batch)
        self._ctrl = self._batch.bind("ctrl")
        self.action_size = model.nu
        self.action_low, self.action_high = model.actuator_ctrlrange.T.astype(np.float32)
        self.observation_size = self._game.observe_start().shape[1]
        self._batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._unstarted = self._batch.state[0].copy()  # to write it costs less than a reset of few rows
        self._measured = np.zeros(self.rows)
        self._random: list[np.random.Generator] = []
        self.reset()

    def _start_over(self) -> Array:
        self._random = [np.random.Generator(np.random.PCG64(seed)) for seed in self.seeds]
        return self._start(np.arange(self.rows))

    def _start(self, rows: Array) -> Array:
        self._batch.state[rows] = self._unstarted
        for row in rows:
            self._game.qpos[row], self._game.qvel[row] = self._game.draw_start(self._random[row])
        self._batch.forward(rows)  # some games observe or reward fields that only this computes
        self._measured[rows] = self._game.measure()[rows]
        return self._game.observe_start()[rows]

    def _advance(self, actions: Array, rows: Array | None) -> tuple[Array, Array, Array, Array]:
        self._ctrl[:] = actions
        self._batch.step(rows, nstep=self._game.frame_skip)
        before, self._measured = self._measured, self._game.measure()
        rewards = self._game.reward(before, self._measured, actions)
        truncated = self._lengths >= self._game.episode_limit
        return self._game.observe(), rewards, self._game.terminated(), truncated

    def _generators(self) -> list[np.random.Generator]:
        return self._random

    def _simulator_state(self) -> dict[str, Array]:
        return {"simulator": self._batch.state, "measured": self._measured}

    def _load_simulator(self, arrays: dict[str, Array]) -> None:
        self._batch.state[:] = arrays["simulator"]
        self._measured = arrays["measured"]

    def close(self) -> None:
        del self._game, self._ctrl, self._batch
