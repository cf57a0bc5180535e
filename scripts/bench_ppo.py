"""PPO's speed: `python scripts/bench_ppo.py [--games HalfCheetah Hopper] [--optim adam adan] [--output FILE.md]`.

Trainers on one thread, in turn, in one process, all with CleanRL's recipe: a plain one in CleanRL's manner (eager
torch, torch's Adam), written for this comparison; stable-baselines3's, where it is installed; and the suite's loop with
several seeds as one batch, with each of `--optim`. Each round gives every trainer's environment steps per second of
processor time (others may use the machine), a ratio to the plain one of that round, and of ours the share of time that
is physics (mujoco's steps) and the microseconds of everything else; reported are medians and quartiles. Checkpoints,
evaluations and building are outside. What everything else consists of comes from rounds of its own afterwards.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from ppo_trainers import PARTS, PHYSICS, STEPS, PlainTrainer, StableBaselines3, Suite

from experiments.record.provenance import cpu_name

PLAIN, PEER, PEER_PACKAGE = "plain, adam", "stable-baselines3, adam", "stable_baselines3"
LEAST_RATIO = {"HalfCheetah": 7.0, "Hopper": 4.7, "Walker2d": 4.0, "Ant": 2.9}  # of ours with Adam to the plain one
MOST_MICROSECONDS = 25.0  # of everything but the physics
HEAD = "| game | trainer | steps/s | quartiles | ratio to plain | quartiles | physics | all but physics, us a step |"
PARTS_HEAD = f"| game | trainer | {PHYSICS} | " + " | ".join(PARTS) + " | everything else |"


@dataclass
class Measured:
    """Rounds of one trainer: steps per second, and where it tells, seconds of physics a step and all seconds a step."""

    speeds: list[float] = field(default_factory=list)
    physics: list[float] = field(default_factory=list)

    @property
    def rest(self) -> list[float]:
        """Microseconds a step of everything but physics."""
        return [1e6 * (1 / speed - physics) for speed, physics in zip(self.speeds, self.physics, strict=True)]

    @property
    def shares(self) -> list[float]:
        """Percent of the time that is physics."""
        return [100 * speed * physics for speed, physics in zip(self.speeds, self.physics, strict=True)]


def timed(trainer: Any, rollouts: int) -> float:
    """Processor seconds of one environment step."""
    begin = time.process_time()
    trainer.train(rollouts)
    return (time.process_time() - begin) / (STEPS * rollouts * trainer.seeds)


def compare(trainers: dict[str, Any], repeats: int, rollouts: int) -> dict[str, Measured]:
    """Interleaved rounds; the order turns by one each round."""
    found = {name: Measured() for name in trainers}
    for trainer in trainers.values():
        trainer.train(1)
    names = list(trainers)
    for repeat in range(repeats):
        turn = repeat % len(names)
        for name in names[turn:] + names[:turn]:
            trainer, measured = trainers[name], found[name]
            if isinstance(trainer, Suite):
                trainer.stopwatch.seconds.clear()
            measured.speeds.append(1 / timed(trainer, rollouts))
            if isinstance(trainer, Suite):
                measured.physics.append(trainer.stopwatch.seconds[PHYSICS] / (STEPS * rollouts * trainer.seeds))
    return found


def parts(suite: Suite, repeats: int, rollouts: int) -> list[float]:
    """Median microseconds a step of physics, of each of `PARTS`, and of everything else, with all of them watched."""
    suite.watch_all()
    rounds = []
    for _ in range(repeats):
        suite.stopwatch.seconds.clear()
        whole = timed(suite, rollouts)
        own = [suite.stopwatch.seconds[name] / (STEPS * rollouts * suite.seeds) for name in (PHYSICS, *PARTS)]
        rounds.append([*own, whole - sum(own)])
    return [1e6 * statistics.median(values) for values in zip(*rounds, strict=True)]


def spread(values: list[float], digits: int) -> tuple[str, str]:
    """Median and quartiles as text."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:,.{digits}f}", f"{low:,.{digits}f} to {high:,.{digits}f}"


def rows(game: str, found: dict[str, Measured]) -> list[str]:
    lines = []
    for name, measured in found.items():
        ratios = [own / plain for own, plain in zip(measured.speeds, found[PLAIN].speeds, strict=True)]
        cells = [*spread(measured.speeds, 0), *spread(ratios, 2), "", ""]
        if measured.physics:
            cells[4:] = [f"{statistics.median(measured.shares):.0f} %", " (".join(spread(measured.rest, 1)) + ")"]
        lines.append(f"| {game} | {name} | " + " | ".join(cells) + " |")
    return lines


def verdicts(game: str, found: dict[str, Measured]) -> list[str]:
    """The targets of this game, of ours with Adam, and whether they are reached."""
    ours = found.get(ours_with("adam"))
    if ours is None or game not in LEAST_RATIO:
        return []
    ratio = statistics.median(own / plain for own, plain in zip(ours.speeds, found[PLAIN].speeds, strict=True))
    rest = statistics.median(ours.rest)
    least, marks = LEAST_RATIO[game], {True: "reached", False: "**not reached**"}
    return [
        f"| {game} | at least {least:g}x the plain trainer | {ratio:.2f} | {marks[ratio >= least]} |",
        f"| {game} | all but physics at most {MOST_MICROSECONDS:g} us a step | {rest:.1f} | "
        f"{marks[rest <= MOST_MICROSECONDS]} |",
    ]


def ours_with(optim: str) -> str:
    return f"ours, {optim}"


def heading(arguments: argparse.Namespace) -> list[str]:
    packages = ["torch", "numpy", "mujoco", "gymnasium", *([PEER_PACKAGE] if find_spec(PEER_PACKAGE) else [])]
    words = [word for word in sys.argv[1:] if word not in ("--output", str(arguments.output))]
    lines = [
        "# How fast PPO trains (CPU)",
        "",
        f"`{' '.join(['python scripts/bench_ppo.py', *words])}`; {arguments.repeats} interleaved rounds of "
        f"{arguments.rollouts} x {STEPS} steps of each seed, one thread; ours with {arguments.seeds} seeds as one "
        "batch; medians and quartiles, of processor time. "
        f"{cpu_name()}, {os.cpu_count()} logical CPUs, load {os.getloadavg()[0]:.1f} at the start, "
        f"{platform.system()}, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}.",
        "",
    ]
    if not find_spec(PEER_PACKAGE):
        lines += ["stable-baselines3 is not installed (pip install stable-baselines3) and left out.", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="*", default=list(LEAST_RATIO))
    parser.add_argument("--seeds", type=int, default=10, help="seeds of one batch")
    parser.add_argument("--optim", nargs="+", default=["adam", "adan"], help="of ours; the others have torch's Adam")
    parser.add_argument("--repeats", type=int, default=9, help="interleaved rounds, at least 2")
    parser.add_argument("--rollouts", type=int, default=1, help="of each trainer and round")
    parser.add_argument("--output", type=Path, help="write the tables there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="gymnasium")
    lines = [*heading(arguments), HEAD, "|---" * HEAD[1:].count("|") + "|"]
    print("\n".join(lines), flush=True)
    targets, shares = [], []
    for game in arguments.games:
        with tempfile.TemporaryDirectory() as folder:
            trainers: dict[str, Any] = {PLAIN: PlainTrainer(game, 0)}
            if find_spec(PEER_PACKAGE):
                trainers[PEER] = StableBaselines3(game, 0)
            ours = {ours_with(name): Suite(game, name, arguments.seeds, Path(folder)) for name in arguments.optim}
            found = compare({**trainers, **ours}, arguments.repeats, arguments.rollouts)
            lines += rows(game, found)
            print("\n".join(lines[-len(found) :]), flush=True)
            targets += verdicts(game, found)
            for name, suite in ours.items():
                cells = " | ".join(f"{value:.1f}" for value in parts(suite, arguments.repeats, arguments.rollouts))
                shares.append(f"| {game} | {name} | {cells} |")
    after = [
        "",
        "| game | target | measured | |",
        "|---|---|---|---|",
        *targets,
        "",
        "Microseconds of an environment step of ours, from rounds in which each part is watched, which costs a little. "
        "Environment: the rules of the game and new episodes; normalise: observations and rewards; rollout: noise and "
        "storing; prepare: values, advantages, mini-batches; learning: loss, gradients, clipping.",
        "",
        PARTS_HEAD,
        "|---" * PARTS_HEAD[1:].count("|") + "|",
        *shares,
    ]
    print("\n".join(after))
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text("\n".join([*lines, *after]) + "\n")


if __name__ == "__main__":
    main()
