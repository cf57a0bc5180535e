"""Measure what a step of an environment costs: `python scripts/bench_environments.py [--games Hopper Ant] [--output
FILE.md]`.

Contenders play the same game on one thread, in turn, in one process: ours, ours with the running normalisers, a plain
loop over gymnasium's environments, envpool where it is installed (its own simulator, its own states), and the physics
alone: `mujoco.rollout` from the very states and with the very actions of our run, all at once. All but envpool thus
simulate the same steps. Each round gives every contender's microseconds for one step of one environment; reported are
medians and quartiles, and the median of what ours adds to the physics of the same round.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import checkout  # noqa: F401
import mujoco
import numpy as np
from mujoco.rollout import Rollout

from experiments.environments import check, make, names
from experiments.environments.normalization import ObservationNormalizer, RewardNormalizer
from experiments.environments.simulator import load_model, quiet_compiler
from experiments.environments.vector_environment import VectorEnvironment
from experiments.record.provenance import cpu_name

PHYSICS, OURS, NORMALISED = "physics alone (mujoco.rollout)", "ours", "ours, normalised"
GYMNASIUM, ENVPOOL = "gymnasium, plain loop", "envpool"
PACKAGES = ("mujoco", "gymnasium", "envpool", "numpy")
Contender = Callable[[], object]


def ours(environment: VectorEnvironment, actions: np.ndarray) -> Contender:
    def play() -> None:
        environment.reset()
        for action in actions:
            environment.step(action)

    return play


def ours_normalised(environment: VectorEnvironment, actions: np.ndarray) -> Contender:
    """Normalise as in PPO with one environment for each seed: every row has statistics of its own."""
    rows = environment.rows
    observe = ObservationNormalizer(rows, environment.observation_size)
    scale = RewardNormalizer(rows, 1, gamma=0.99)

    def play() -> None:
        observe.start(environment.reset()[:, None])
        for action in actions:
            step = environment.step(action)
            observe.step(step.observations[:, None], step.final_observations[:, None], step.ended[:, None])
            scale.step(step.rewards[:, None], step.terminated[:, None])

    return play


def gymnasium_loop(game: str, actions: np.ndarray) -> Contender:
    import gymnasium

    with quiet_compiler():
        environments = [gymnasium.make(f"{game}-v4", disable_env_checker=True) for _ in actions[0]]

    def play() -> None:
        for seed, environment in enumerate(environments):
            environment.reset(seed=seed)
        for action in actions:
            for environment, own in zip(environments, action, strict=True):
                _, _, terminated, truncated, _ = environment.step(own)
                if terminated or truncated:
                    environment.reset()

    return play


def envpool_vector(game: str, actions: np.ndarray) -> Contender:
    import envpool

    environments = envpool.make(f"{game}-v4", env_type="gymnasium", num_envs=len(actions[0]), num_threads=1, seed=0)

    def play() -> None:
        environments.reset()
        for action in actions:
            environments.step(action)

    return play


def physics(environment: VectorEnvironment, actions: np.ndarray) -> Contender:
    """The steps of the simulator that `environment` makes with `actions`, and nothing else."""
    model = load_model(environment.rules.model_file)
    whole, plain, warm = (
        mujoco.mjtState.mjSTATE_INTEGRATION,
        mujoco.mjtState.mjSTATE_FULLPHYSICS,
        mujoco.mjtState.mjSTATE_WARMSTART,
    )
    rows = []
    environment.reset()
    for action in actions:
        rows.append(environment.state()["simulator"].numpy())
        environment.step(action)
    states = np.concatenate(rows)
    starts = {spec: np.empty((len(states), mujoco.mj_stateSize(model, spec))) for spec in (plain, warm)}
    for spec, into in starts.items():
        for row, state in zip(into, states, strict=True):
            mujoco.mj_extractState(model, state, whole, row, spec)
    substeps = environment.rules.frame_skip
    control = np.repeat(actions.reshape(len(states), 1, -1).astype(float), substeps, axis=1)
    outputs = (np.empty((len(states), substeps, starts[plain].shape[1])), np.empty((len(states), substeps, 0)))
    pool, data = Rollout(nthread=0), mujoco.MjData(model)

    def play() -> None:
        pool.rollout(
            model,
            data,
            starts[plain],
            control,
            initial_warmstart=starts[warm],
            state=outputs[0],
            sensordata=outputs[1],
        )

    return play


def contenders(game: str, rows: int, steps: int) -> dict[str, Contender]:
    """By name: a function that plays `steps` steps of `rows` environments from their start."""
    environment = make(game, "mujoco", range(rows))
    shape = (steps, rows, environment.action_size)
    noise = 0.5 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    actions = np.clip(noise, environment.action_low, environment.action_high)
    found = {
        PHYSICS: physics(environment, actions),
        OURS: ours(environment, actions),
        NORMALISED: ours_normalised(environment, actions),
        GYMNASIUM: gymnasium_loop(game, actions),
    }
    if find_spec("envpool"):
        found[ENVPOOL] = envpool_vector(game, actions)
    return found


def measure(game: str, rows: int, steps: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds for one step of one environment, by contender, one number a round; the order turns each round."""
    found = contenders(game, rows, steps)
    order = list(found)
    times: dict[str, list[float]] = {name: [] for name in order}
    for index in range(-1, rounds):
        turn = index % len(order)
        for name in order[turn:] + order[:turn]:
            begin = time.perf_counter()
            found[name]()
            seconds = time.perf_counter() - begin
            if index >= 0:  # the first round warms up
                times[name].append(1e6 * seconds / (rows * steps))
    return times


def row(game: str, times: dict[str, list[float]]) -> str:
    cells = []
    for name in (PHYSICS, OURS, NORMALISED, GYMNASIUM, ENVPOOL):
        if name not in times:
            cells.append("not installed")
            continue
        low, median, high = statistics.quantiles(times[name], n=4)
        cells.append(f"{median:.1f} ({low:.1f} to {high:.1f})")
    for name in (OURS, NORMALISED):
        added = [a - b for a, b in zip(times[name], times[PHYSICS], strict=True)]
        cells.append(f"{statistics.median(added):.1f}")
    ratio = statistics.median(a / b for a, b in zip(times[GYMNASIUM], times[OURS], strict=True))
    return f"| {game} | " + " | ".join(cells) + f" | {ratio:.2f} |"


def heading(arguments: argparse.Namespace) -> list[str]:
    installed = []
    for package in PACKAGES:
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            installed.append(f"no {package}")
    return [
        "# What a step of an environment costs",
        "",
        f"Microseconds for one step of one environment, {arguments.rows} environments, one thread; medians and "
        f"quartiles of {arguments.rounds} interleaved rounds of {arguments.steps} steps. {cpu_name()}, "
        f"{os.cpu_count()} logical CPUs, load {os.getloadavg()[0]:.1f} at the start, "
        f"Python {platform.python_version()}, {', '.join(installed)}.",
        "",
        "| game | physics alone | ours | ours, normalised | gymnasium, plain loop | envpool | ours - physics "
        "| normalised - physics | gymnasium / ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=names(), metavar="GAME", help=", ".join(names()))
    parser.add_argument("--rows", type=int, default=10, help="environments that step together")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    for game in arguments.games:
        check(game, "mujoco")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    lines = heading(arguments)
    print("\n".join(lines), flush=True)
    for game in arguments.games:
        lines.append(row(game, measure(game, arguments.rows, arguments.steps, arguments.rounds)))
        print(lines[-1], flush=True)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
