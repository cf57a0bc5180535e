"""The rules of eight games, over all rows at once: gymnasium's `-v4` environments, equal in every bit.

Each game says what is observed, what is rewarded, when an episode ends and how one starts; mujoco does the physics.
The facts are those of gymnasium's documentation and behaviour (gymnasium/envs/mujoco/*_v4.py), in three traps even the
surprising ones:

- After a step of mujoco, everything but positions, velocities and time (body positions `xpos`, contact forces, ...)
  still describes the last sub-step's beginning. Ant, Humanoid, Reacher and InvertedDoublePendulum use such fields.
- Reacher rewards the distance before its step, all others what the step did.
- Sums and products run in the order, and control costs in the dtype of the actions, in which gymnasium computes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Game(ABC):
    """Rules of a game over the n rows of a `mujoco.batch.Batch`, whose arrays are live: they change as it steps."""

    model_file: str
    frame_skip: int
    """Steps of the simulator in one step of the game."""
    episode_limit = 1000
    noise: float
    """Scale of the noise around the model's initial state."""
    normal_velocities = False
    """Whether initial velocities are normal instead of uniform."""
    keeps_simulations = False
    """Whether rows need a simulation (MjData) of their own, to ask for more than a batch gives."""

    def __init__(self, batch: Any):
        self.batch = batch
        self.qpos: Array = batch.bind("qpos")
        self.qvel: Array = batch.bind("qvel")
        self.initial_qpos: Array = batch.model.qpos0.copy()
        self.seconds = batch.model.opt.timestep * self.frame_skip

    def draw_start(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Positions [nq] and velocities [nv] of a new episode."""
        low, high = -self.noise, self.noise
        qpos = self.initial_qpos + generator.uniform(low, high, self.qpos.shape[1:])
        if self.normal_velocities:
            return qpos, self.noise * generator.standard_normal(self.qvel.shape[1:])
        return qpos, generator.uniform(low, high, self.qvel.shape[1:])

    @abstractmethod
    def observe(self) -> Array:
        """Observations [n, o] after a step."""

    def observe_start(self) -> Array:
        """Observations [n, o] in rows that just started (other rows may hold anything)."""
        return self.observe()

    @abstractmethod
    def measure(self) -> Array:
        """A quantity [n] that rewards compare before and after the step; it is part of the saved state."""

    @abstractmethod
    def reward(self, before: Array, after: Array, actions: Array) -> Array:
        """Rewards [n] of a step; `before` and `after` are what `measure` gave."""

    def terminated(self) -> Array:
        """Whether the step ended the episode, [n] bool."""
        return np.zeros(len(self.qpos), bool)


def control_cost(weight: float, actions: Array) -> Array:
    """`weight` times the sum of squares of each row's action."""
    return weight * np.add.reduce(np.square(actions), axis=1)


def clipped(values: Array) -> Array:
    """`values` within +-10. (numpy's clip takes twice as long for as few values.)"""
    return np.minimum(np.maximum(values, -10.0), 10.0)


def within(low: Array, values: Array, high: Array) -> Array:
    """Whether all values [n, k] of a row lie between the bounds [k], exclusively: [n] bool; False where one is NaN."""
    return np.logical_and.reduce((values > low) & (values < high), axis=1)


class Runner(Game):
    """Games that pay for speed along x, and for being alive, and charge for control."""

    forward_weight = 1.0
    alive = 0.0
    control_weight: float
    hidden_positions = 1
    """Leading positions (of the whole body) that are not observed."""
    noise = 0.1

    def __init__(self, batch: Any):
        super().__init__(batch)
        self.seen = self.qpos[:, self.hidden_positions :]

    def observe(self) -> Array:
        return np.concatenate((self.seen, self.qvel), axis=1)

    def measure(self) -> Array:
        return self.qpos[:, 0].copy()

    def reward(self, before: Array, after: Array, actions: Array) -> Array:
        speed = (after - before) / self.seconds
        return self.forward_weight * speed + self.alive - control_cost(self.control_weight, actions)


class HalfCheetah(Runner):
    """Two legs in a plane; never ends before the time limit."""

    model_file = "half_cheetah.xml"
    frame_skip = 5
    normal_velocities = True
    control_weight = 0.1


class Swimmer(Runner):
    """Three links in a viscous plane; never ends before the time limit."""

    model_file = "swimmer.xml"
    frame_skip = 4
    control_weight = 1e-4
    hidden_positions = 2


class Hopper(Runner):
    """One leg in a plane; ends when it falls."""

    model_file = "hopper.xml"
    frame_skip = 4
    noise = 5e-3
    alive = 1.0
    control_weight = 1e-3

    def __init__(self, batch: Any):
        super().__init__(batch)
        others = self.qpos.shape[1] + self.qvel.shape[1] - 3
        self.low = np.array([0.7, -0.2, *[-100.0] * others])  # height, angle, everything else
        self.high = np.array([np.inf, 0.2, *[100.0] * others])

    def observe(self) -> Array:
        return np.concatenate((self.seen, clipped(self.qvel)), axis=1)

    def terminated(self) -> Array:
        return ~within(self.low, np.concatenate((self.seen, self.qvel), axis=1), self.high)


class Walker2d(Runner):
    """Two legs in a plane; ends when it falls."""

    model_file = "walker2d.xml"
    frame_skip = 4
    noise = 5e-3
    alive = 1.0
    control_weight = 1e-3

    low, high = np.array([0.8, -1.0]), np.array([2.0, 1.0])
    """Bounds of height and angle."""

    def __init__(self, batch: Any):
        super().__init__(batch)
        self.height_and_angle = self.qpos[:, 1:3]

    def observe(self) -> Array:
        return np.concatenate((self.seen, clipped(self.qvel)), axis=1)

    def terminated(self) -> Array:
        return ~within(self.low, self.height_and_angle, self.high)


class Ant(Runner):
    """Four legs; speed is that of the torso's `xpos`, one sub-step old. Contact forces neither observed nor charged."""

    model_file = "ant.xml"
    frame_skip = 5
    normal_velocities = True
    alive = 1.0
    control_weight = 0.5
    hidden_positions = 2

    def __init__(self, batch: Any):
        super().__init__(batch)
        self.torso_x = batch.bind("xpos")[:, batch.model.body("torso").id, 0]
        self.height = self.qpos[:, 2]

    def measure(self) -> Array:
        return self.torso_x.copy()

    def terminated(self) -> Array:
        healthy = (self.height >= 0.2) & (self.height <= 1.0)
        healthy &= np.logical_and.reduce(np.isfinite(self.qpos), axis=1)
        healthy &= np.logical_and.reduce(np.isfinite(self.qvel), axis=1)
        return ~healthy


class Humanoid(Runner):
    """Two legs and two arms; speed is that of the centre of mass, one sub-step old. 376 numbers are observed.

    Among them are contact forces (`cfrc_ext`), which mujoco computes only when asked to, after the step and for one
    simulation at a time. After a start they are zero: gymnasium does not ask there.
    """

    model_file = "humanoid.xml"
    frame_skip = 5
    noise = 0.01
    forward_weight = 1.25
    alive = 5.0
    control_weight = 0.1
    hidden_positions = 2
    keeps_simulations = True

    def __init__(self, batch: Any):
        super().__init__(batch)
        import mujoco

        self.add_contact_forces = mujoco.mj_rnePostConstraint
        self.simulation = mujoco.MjData(batch.model)
        self.masses, self.centres = batch.model.body_mass, batch.bind("xipos")
        self.height = self.qpos[:, 2]
        self.ctrl: Array = batch.bind("ctrl")
        fields = [batch.bind(name) for name in ("cinert", "cvel", "qfrc_actuator")]
        self.derived = [field.reshape(len(self.qpos), -1) for field in fields]

    def observe(self) -> Array:
        return self._observe_with(np.stack([self._contact_forces(row) for row in range(len(self.qpos))]))

    def observe_start(self) -> Array:
        return self._observe_with(np.zeros((len(self.qpos), 6 * self.batch.model.nbody)))

    def _observe_with(self, contact_forces: Array) -> Array:
        return np.concatenate((self.seen, self.qvel, *self.derived, contact_forces), axis=1)

    def _contact_forces(self, row: int) -> Array:
        self.batch.get_data(row, self.simulation)
        self.add_contact_forces(self.batch.model, self.simulation)
        return self.simulation.cfrc_ext.flatten()

    def measure(self) -> Array:
        return np.einsum("b,nbj->nj", self.masses, self.centres)[:, 0] / self.masses.sum()

    def reward(self, before: Array, after: Array, actions: Array) -> Array:
        return super().reward(before, after, self.ctrl)  # charged in float64, whatever the actions' dtype

    def terminated(self) -> Array:
        return ~((self.height > 1.0) & (self.height < 2.0))


class InvertedDoublePendulum(Game):
    """Two poles on a cart; ends when their tip falls. Tip and constraint forces are one sub-step old."""

    model_file = "inverted_double_pendulum.xml"
    frame_skip = 5
    noise = 0.1
    normal_velocities = True

    def __init__(self, batch: Any):
        super().__init__(batch)
        self.tip: Array = batch.bind("site_xpos")[:, 0]
        self.constraint_forces: Array = batch.bind("qfrc_constraint")

    def observe(self) -> Array:
        angles = self.qpos[:, 1:]
        limited = clipped(self.qvel), clipped(self.constraint_forces)
        return np.concatenate((self.qpos[:, :1], np.sin(angles), np.cos(angles), *limited), axis=1)

    def measure(self) -> Array:
        return self.tip[:, 2].copy()

    def reward(self, before: Array, after: Array, actions: Array) -> Array:
        # gymnasium squares scalars, numpy does that by pow(), and pow() does not always round as x * x.
        x, y, v1, v2 = (
            np.float_power(values, 2.0) for values in (self.tip[:, 0], after - 2, self.qvel[:, 1], self.qvel[:, 2])
        )
        return 10 - (0.01 * x + y) - (0.001 * v1 + 0.005 * v2)

    def terminated(self) -> Array:
        return self.tip[:, 2] <= 1


class Reacher(Game):
    """A two-link arm and a target; 50 steps an episode. Pays for nearness of the fingertip before the step."""

    model_file = "reacher.xml"
    frame_skip = 2
    episode_limit = 50
    noise = 0.1

    def __init__(self, batch: Any):
        super().__init__(batch)
        positions = batch.bind("xpos")
        fingertip, target = (batch.model.body(name).id for name in ("fingertip", "target"))
        self.fingertip, self.target = positions[:, fingertip], positions[:, target]

    def draw_start(self, generator: np.random.Generator) -> tuple[Array, Array]:
        qpos = generator.uniform(-self.noise, self.noise, self.qpos.shape[1:]) + self.initial_qpos
        target = generator.uniform(-0.2, 0.2, 2)
        while np.linalg.norm(target) >= 0.2:
            target = generator.uniform(-0.2, 0.2, 2)
        qvel = generator.uniform(-0.005, 0.005, self.qvel.shape[1:])
        qpos[-2:], qvel[-2:] = target, 0
        return qpos, qvel

    def observe(self) -> Array:
        angles = self.qpos[:, :2]
        offset = self.fingertip - self.target
        return np.concatenate((np.cos(angles), np.sin(angles), self.qpos[:, 2:], self.qvel[:, :2], offset), axis=1)

    def measure(self) -> Array:
        offset = self.fingertip - self.target
        return -np.sqrt(np.vecdot(offset, offset))

    def reward(self, before: Array, after: Array, actions: Array) -> Array:
        return before - np.add.reduce(np.square(actions), axis=1)


GAMES: dict[str, type[Game]] = {
    game.__name__: game
    for game in (HalfCheetah, Hopper, Walker2d, Ant, Humanoid, Swimmer, InvertedDoublePendulum, Reacher)
}
