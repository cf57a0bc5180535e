"""Record an episode of a trained PPO run: `python scripts/record_episode.py RUN_DIR --output episode.gif`.

The policy of the newest checkpoint plays one episode as in an evaluation: with actions drawn from it, its normalisers
frozen, on an environment of its own. mujoco renders it, without a display, through EGL or OSMesa (MUJOCO_GL=egl, the
default here, or MUJOCO_GL=osmesa). GIF needs imageio, which comes with gymnasium[mujoco]; MP4 needs imageio-ffmpeg.
Nothing in the suite needs a video: the numbers of a run are in its record.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch

from experiments import tasks
from experiments.data.streams import derive
from experiments.environments import make
from experiments.ppo.collection import to_environment
from experiments.record.run_directory import RunDirectory
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.training import checkpoint
from experiments.training.task import Part

MOST_FRAMES_A_SECOND = 50  # of a GIF: its clock counts hundredths of a second
NEEDS = {".gif": ("imageio", "imageio"), ".mp4": ("imageio_ffmpeg", "imageio-ffmpeg")}
CAMERA, FREE_CAMERA = "track", -1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN_DIR")
    parser.add_argument("--output", type=Path, required=True, help="a new file, .gif or .mp4")
    parser.add_argument("--row", type=int, default=0, help="which of the runs that trained as one batch (0: the first)")
    parser.add_argument("--episode", type=int, default=0, help="another number, another episode")
    parser.add_argument("--size", type=int, nargs=2, default=[320, 240], metavar=("WIDTH", "HEIGHT"))
    arguments = parser.parse_args()
    try:
        check_output(arguments.output)
        config, state = trained(RunDirectory(arguments.run), arguments.row)
        with rendering():
            import mujoco  # noqa: F401  it reads MUJOCO_GL, and fails where that library is missing
        policy = Policy(config, state, arguments.row)
        environment: Any = make(policy.config.game, "gymnasium", [derive(arguments.episode, "recording")])
        frames, episode_return = record(policy, environment, arguments.episode, *arguments.size)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write(frames, arguments.output, 1 / environment.simulations()[0].dt)
    print(f"{arguments.output}: {len(frames)} steps, return {episode_return:.1f}")
    return 0


def check_output(path: Path) -> None:
    """Raise UserError where the file exists, is of another kind, or cannot be encoded here."""
    if path.suffix not in NEEDS:
        raise UserError(f"--output {path}: choose a name that ends in {' or '.join(NEEDS)}")
    if path.exists():
        raise UserError(f"--output {path} exists already: choose another name, or move it away")
    module, package = NEEDS[path.suffix]
    if not find_spec("imageio") or not find_spec(module):
        other = " or choose a name that ends in .gif" if path.suffix == ".mp4" else ""
        raise UserError(f"--output {path}: {package} is not installed: pip install {package}{other}")


def trained(directory: RunDirectory, row: int) -> tuple[RunConfig, dict[str, Any]]:
    """Configuration and newest checkpoint. Raises UserError for a run of another task, one without a checkpoint, and a
    row that the checkpoint does not hold."""
    config = directory.config()
    if config.task != "ppo":
        raise UserError(f"{directory.name} is a run of task {config.task}: only those of ppo play episodes")
    state, _ = checkpoint.load_newest(directory.checkpoints)
    if state is None:
        raise UserError(
            f"{directory.name} has no checkpoint; runs that trained as one batch have theirs in the directory of the "
            "first: name that one, with --row"
        )
    if not 0 <= row < rows_of(state):
        raise UserError(f"--row {row}: the checkpoint of {directory.name} holds rows 0 to {rows_of(state) - 1}")
    return config, state


def rows_of(state: dict[str, Any]) -> int:
    """Return how many runs trained as one batch; the parameters of one alone have no dimension for that."""
    log_std = state["module"]["log_std"]
    return len(log_std) if log_std.ndim == 2 else 1


class Policy:
    """The policy of one row of a checkpoint, with its normaliser as it was."""

    def __init__(self, config: RunConfig, state: dict[str, Any], row: int) -> None:
        rows = rows_of(state)
        task: Any = tasks.build(config, Part(micro_batch=config.global_batch_size), range(rows))
        task.module.load_state_dict(state["module"])
        task.sampler.normalizer.load(state["task"]["sampler"]["normalizer"])
        self.config, self.row, self.rows, self.normalizer = config.ppo, row, rows, task.sampler.normalizer
        agent = task.module.agents()[row]
        self.deviation = agent.log_std.detach().exp().numpy()
        self.mean_of: Callable[[np.ndarray], np.ndarray] = agent.acting()

    def __call__(self, observations: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Actions [1, size] for observations [1, size]."""
        seen = np.broadcast_to(observations, (self.rows, *observations.shape))
        if self.config.normalise_observations:
            seen = self.normalizer.normalize(seen)
        return self.mean_of(seen[self.row, None].astype(noise.dtype))[0] + self.deviation * noise


def record(policy: Policy, environment: Any, episode: int, width: int, height: int) -> tuple[list, float]:
    """Frames [height, width, 3] of one episode, one before each of its steps; and its return.

    Rendering begins when all else is loaded: Mesa and triton (a part of torch) crash in the other order.
    """
    simulation = environment.simulations()[0]
    picture = renderer(simulation.model, width, height)
    stream = torch.Generator().manual_seed(derive(episode, "recording"))
    frames, observations = [], environment.observations
    while True:
        frames.append(picture(simulation.data))
        noise = torch.randn(1, environment.action_size, generator=stream).numpy()
        step = environment.step(to_environment(policy.config, environment, policy(observations, noise)))
        observations = step.observations
        if step.ended[0]:
            return frames, float(step.episode_returns[0])


@contextmanager
def rendering() -> Iterator[None]:
    """Turn whatever mujoco raises where it cannot render without a display into a UserError that says what to do."""
    backend = os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        yield
    except Exception as error:  # of many kinds: of mujoco, of PyOpenGL, of the loader
        raise UserError(
            f"mujoco cannot render with MUJOCO_GL={backend} ({type(error).__name__}: {error}). Install EGL (a GPU's "
            "driver, or Mesa: libegl1 and libegl-mesa0) for MUJOCO_GL=egl, or OSMesa (libosmesa6) for "
            "MUJOCO_GL=osmesa, and set the one that is there"
        ) from error


def renderer(model: Any, width: int, height: int) -> Callable[[Any], np.ndarray]:
    """A function from mujoco's data to a frame, from the camera that follows the body where the game has one."""
    import mujoco

    camera = CAMERA if any(model.camera(index).name == CAMERA for index in range(model.ncam)) else FREE_CAMERA
    with rendering():
        made = mujoco.Renderer(model, height, width)

    def picture(data: Any) -> np.ndarray:
        made.update_scene(data, camera)
        return made.render()

    return picture


def write(frames: list[np.ndarray], path: Path, rate: float) -> None:
    """Write the video in the game's own time; frames are left out where there are more than a GIF can show."""
    import imageio.v3 as imageio

    stride = math.ceil(rate / MOST_FRAMES_A_SECOND)
    path.parent.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"fps": rate / stride}
    if path.suffix == ".gif":
        how = {"duration": 1000 * stride / rate, "loop": 0}
    imageio.imwrite(path, np.stack(frames[::stride]), **how)


if __name__ == "__main__":
    sys.exit(main())
