"""PPO's speed: `python scripts/bench_ppo.py [--games HalfCheetah Hopper] [--seeds 10] [--repeats 5] [--rollouts 2]`.

Two trainers on one thread, in turn, in one process: a plain one in CleanRL's manner (one gymnasium environment with its
wrappers, eager torch, torch's Adam), written for this comparison, and the suite's loop with several seeds as one batch.
Both use CleanRL's recipe. Each round gives both trainers' environment steps per second of processor time (others may
use the machine); reported are medians, the median of the ratios of a round, and of ours the share of time that is
physics (mujoco's steps) and the microseconds of everything else. Checkpoints, evaluations and building are outside
both.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from torch import nn
from torch.distributions.normal import Normal

from experiments import tasks
from experiments.environments.simulator import quiet_compiler
from experiments.launch.seed_batches import require_elementwise
from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose
from experiments.schema.names import choices
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

STEPS, PASSES, MINI_BATCH = 2048, 10, 64
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2


class PlainTrainer:
    """One seed, one environment, an operation of torch for everything."""

    def __init__(self, game: str, seed: int) -> None:
        torch.manual_seed(seed)
        with quiet_compiler():
            self.environment = gymnasium.vector.SyncVectorEnv(
                [lambda: self._wrapped(game)], autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
            )
        observations = self.environment.single_observation_space.shape[0]
        actions = self.environment.single_action_space.shape[0]
        self.actor = self._network(observations, actions, 0.01)
        self.critic = self._network(observations, 1, 1.0)
        self.log_std = nn.Parameter(torch.zeros(1, actions))
        self.parameters = [*self.actor.parameters(), *self.critic.parameters(), self.log_std]
        self.optimizer = torch.optim.Adam(self.parameters, lr=3e-4, eps=1e-5)
        first, _ = self.environment.reset(seed=seed)
        self.observation, self.done = torch.Tensor(first), torch.zeros(1)
        self.buffer = {
            "observations": torch.zeros(STEPS, 1, observations),
            "actions": torch.zeros(STEPS, 1, actions),
            **{name: torch.zeros(STEPS, 1) for name in ("log_probabilities", "rewards", "dones", "values")},
        }

    @staticmethod
    def _wrapped(game: str) -> gymnasium.Env:
        wrappers = gymnasium.wrappers
        environment = wrappers.RecordEpisodeStatistics(gymnasium.make(f"{game}-v4"))
        environment = wrappers.NormalizeObservation(wrappers.ClipAction(environment))
        space = environment.observation_space
        environment = wrappers.TransformObservation(environment, lambda seen: np.clip(seen, -10, 10), space)
        environment = wrappers.NormalizeReward(environment, gamma=GAMMA)
        return wrappers.TransformReward(environment, lambda reward: np.clip(reward, -10, 10))

    @staticmethod
    def _network(inputs: int, outputs: int, gain: float) -> nn.Sequential:
        layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, outputs)]
        for layer, of_layer in zip(layers, (2**0.5, 2**0.5, gain), strict=True):
            nn.init.orthogonal_(layer.weight, of_layer)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])

    def train(self, rollouts: int) -> None:
        for _ in range(rollouts):
            self._collect()
            self._learn(*self._estimate())

    def _collect(self) -> None:
        buffer = self.buffer
        for step in range(STEPS):
            buffer["observations"][step], buffer["dones"][step] = self.observation, self.done
            with torch.no_grad():
                policy = self._policy(self.observation)
                action = policy.sample()
                buffer["log_probabilities"][step] = policy.log_prob(action).sum(1)
                buffer["values"][step] = self.critic(self.observation).flatten()
            buffer["actions"][step] = action
            seen, reward, terminated, truncated, _ = self.environment.step(action.numpy())
            buffer["rewards"][step] = torch.tensor(reward).view(-1)
            self.observation = torch.Tensor(seen)
            self.done = torch.Tensor(np.logical_or(terminated, truncated))

    @torch.no_grad()
    def _estimate(self) -> tuple[torch.Tensor, torch.Tensor]:
        buffer, carried = self.buffer, torch.zeros(1)
        advantages = torch.zeros_like(buffer["rewards"])
        following, going = self.critic(self.observation).flatten(), 1.0 - self.done
        for step in reversed(range(STEPS)):
            delta = buffer["rewards"][step] + GAMMA * following * going - buffer["values"][step]
            advantages[step] = carried = delta + GAMMA * LAMBDA * going * carried
            following, going = buffer["values"][step], 1.0 - buffer["dones"][step]
        return advantages, advantages + buffer["values"]

    def _learn(self, advantages: torch.Tensor, returns: torch.Tensor) -> None:
        flat = {name: values.flatten(0, 1) for name, values in self.buffer.items()}
        advantages, returns = advantages.flatten(), returns.flatten()
        order = np.arange(STEPS)
        for _ in range(PASSES):
            np.random.shuffle(order)
            for start in range(0, STEPS, MINI_BATCH):
                chosen = order[start : start + MINI_BATCH]
                policy = self._policy(flat["observations"][chosen])
                log_ratio = policy.log_prob(flat["actions"][chosen]).sum(1) - flat["log_probabilities"][chosen]
                ratio = log_ratio.exp()
                advantage = advantages[chosen]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = torch.clamp(ratio, 1 - CLIP, 1 + CLIP)
                policy_loss = torch.max(-advantage * ratio, -advantage * clipped).mean()
                value, before = self.critic(flat["observations"][chosen]).view(-1), flat["values"][chosen]
                near = before + torch.clamp(value - before, -CLIP, CLIP)
                error = torch.max((value - returns[chosen]) ** 2, (near - returns[chosen]) ** 2)
                loss = policy_loss + 0.5 * 0.5 * error.mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, 0.5)
                self.optimizer.step()

    def _policy(self, observations: torch.Tensor) -> Normal:
        mean = self.actor(observations)
        return Normal(mean, self.log_std.expand_as(mean).exp())


class Timed:
    """What it holds, with the seconds that calls of `step` took."""

    def __init__(self, held: Any) -> None:
        self._held, self.seconds = held, 0.0

    def step(self, *arguments: Any, **keywords: Any) -> Any:
        begin = time.process_time()
        result = self._held.step(*arguments, **keywords)
        self.seconds += time.process_time() - begin
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)


class Suite:
    """The suite's loop over seeds of one batch, from its run directories to its events; physics timed by itself."""

    def __init__(self, game: str, optim: str, seeds: int, folder: Path) -> None:
        name = next(name for name in choices("exp") if name.replace("_", "") == f"ppo{game.lower()}")
        common = [f"exp={name}", f"optim={optim}", "scale=paper", "evaluation.every=100000", "checkpoint.every=100000"]
        configs = [compose([*common, f"seed={seed}", f"launch.seeds_per_process={seeds}"])[0] for seed in range(seeds)]
        require_elementwise(configs)
        directories = [RunDirectory.open_or_create(folder, config) for config in configs]
        part = Part(micro_batch=configs[0].global_batch_size)
        task = tasks.build(configs[0], part, range(seeds))
        members = list(zip(configs, directories, strict=True))
        self.run = Run(configs[0], directories[0], task, part, members[1:])
        self.run.resume()
        self.environment = self.run.task.sampler.environment  # type: ignore[attr-defined]
        self.physics = self.environment._batch = Timed(self.environment._batch)

    def train(self, rollouts: int) -> None:
        with Interruption() as interruption:
            self.run.perform(interruption, until=self.run.update + rollouts * self.run.task.updates_per_epoch)


def compare(game: str, arguments: argparse.Namespace, folder: Path) -> None:
    """Print one line for each trainer."""
    plain = PlainTrainer(game, 0)
    ours = Suite(game, arguments.optim, arguments.seeds, folder)
    speeds: dict[str, list[float]] = {"plain": [], "ours": []}
    shares, rest = [], []
    steps = STEPS * arguments.rollouts
    plain.train(1), ours.train(1)  # type: ignore[func-returns-value]
    for _ in range(arguments.repeats):
        begin = time.process_time()
        plain.train(arguments.rollouts)
        speeds["plain"].append(steps / (time.process_time() - begin))
        ours.physics.seconds, begin = 0.0, time.process_time()
        ours.train(arguments.rollouts)
        seconds = time.process_time() - begin
        speeds["ours"].append(steps * arguments.seeds / seconds)
        shares.append(ours.physics.seconds / seconds)
        rest.append(1e6 * (seconds - ours.physics.seconds) / (steps * arguments.seeds))
    ratios = [fast / slow for fast, slow in zip(speeds["ours"], speeds["plain"], strict=True)]
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    share, others = 100 * statistics.median(shares), statistics.median(rest)
    print(
        f"{game:<12} plain {middle['plain']:>6,.0f} steps/s   ours {middle['ours']:>6,.0f} steps/s   ratio {ratio}   "
        f"physics {share:.0f} % of the time, the rest {others:.1f} us a step",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="*", default=["HalfCheetah", "Hopper", "Walker2d", "Ant"])
    parser.add_argument("--seeds", type=int, default=10, help="seeds of one batch")
    parser.add_argument("--optim", default="adam", help="of ours; the plain trainer has torch's Adam")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rollouts", type=int, default=2, help="of each trainer and repeat")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="gymnasium")
    versions = f"torch {torch.__version__}, mujoco {mujoco.__version__}, gymnasium {gymnasium.__version__}"
    print(f"{versions}, {platform.machine()}, 1 thread, {arguments.seeds} seeds, {arguments.optim}")
    for game in arguments.games:
        with tempfile.TemporaryDirectory() as folder:
            compare(game, arguments, Path(folder))


if __name__ == "__main__":
    main()
