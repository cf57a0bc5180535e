"""The trainers that `bench_ppo.py` compares, all with CleanRL's recipe; each has `seeds` and `train(rollouts)`."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions.normal import Normal

from experiments import tasks
from experiments.environments.simulator import quiet_compiler
from experiments.launch.seed_batches import require_stackable
from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose
from experiments.schema.names import choices
from experiments.tasks import ppo
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

STEPS, PASSES, MINI_BATCH = 2048, 10, 64
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2
PHYSICS = "physics"
PARTS = ("environment", "normalise", "inference", "rollout", "prepare", "learning", "optimizer")


class PlainTrainer:
    """CleanRL's manner: one seed, one gymnasium environment with its wrappers, an operation of torch for everything."""

    seeds = 1

    def __init__(self, game: str, seed: int) -> None:
        torch.manual_seed(seed)
        with quiet_compiler():
            self.environment = gymnasium.vector.SyncVectorEnv(
                [lambda: self._wrapped(game)], autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
            )
        first, _ = self.environment.reset(seed=seed)
        (_, observations), (_, actions) = first.shape, self.environment.action_space.sample().shape
        self.actor = self._network(observations, actions, 0.01)
        self.critic = self._network(observations, 1, 1.0)
        self.log_std = nn.Parameter(torch.zeros(1, actions))
        self.parameters = [*self.actor.parameters(), *self.critic.parameters(), self.log_std]
        self.optimizer = torch.optim.Adam(self.parameters, lr=3e-4, eps=1e-5)
        self.observation, self.done = torch.Tensor(first), torch.zeros(1)
        self.buffer = {
            "observations": torch.zeros(STEPS, 1, observations),
            "actions": torch.zeros(STEPS, 1, actions),
            **{name: torch.zeros(STEPS, 1) for name in ("log_probabilities", "rewards", "dones", "values")},
        }

    @staticmethod
    def _wrapped(game: str) -> gymnasium.Env:
        wrappers = gymnasium.wrappers
        environment: gymnasium.Env = wrappers.RecordEpisodeStatistics(gymnasium.make(f"{game}-v4"))
        environment = wrappers.NormalizeObservation(wrappers.ClipAction(environment))
        space = environment.observation_space
        environment = wrappers.TransformObservation(environment, lambda seen: np.clip(seen, -10, 10), space)
        environment = wrappers.NormalizeReward(environment, gamma=GAMMA)
        return wrappers.TransformReward(environment, lambda reward: np.clip(float(reward), -10, 10))

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


class StableBaselines3:
    """stable-baselines3's PPO on one environment, with the same settings (its value loss has no factor 1/2)."""

    seeds = 1

    def __init__(self, game: str, seed: int) -> None:
        from stable_baselines3 import PPO
        from stable_baselines3.common.monitor import Monitor
        from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

        with quiet_compiler():
            environment = VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make(f"{game}-v4"))]), gamma=GAMMA)
        networks = {
            "net_arch": {"pi": [64, 64], "vf": [64, 64]},
            "activation_fn": nn.Tanh,
            "optimizer_kwargs": {"eps": 1e-5},
        }
        self.model = PPO(
            "MlpPolicy",
            environment,
            learning_rate=3e-4,
            n_steps=STEPS,
            batch_size=MINI_BATCH,
            n_epochs=PASSES,
            gamma=GAMMA,
            gae_lambda=LAMBDA,
            clip_range=CLIP,
            clip_range_vf=CLIP,
            ent_coef=0.0,
            vf_coef=0.25,
            max_grad_norm=0.5,
            policy_kwargs=networks,
            device="cpu",
            seed=seed,
        )

    def train(self, rollouts: int) -> None:
        self.model.learn(rollouts * STEPS, reset_num_timesteps=False)


class Stopwatch:
    """Processor seconds of watched calls by label: each its own, without those of watched calls inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def watch(self, owner: Any, name: str, label: str) -> None:
        called = getattr(owner, name)

        def watched(*arguments: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            begin = time.process_time()
            try:
                return called(*arguments, **keywords)
            finally:
                spent = time.process_time() - begin
                self.seconds[label] += spent - self._inside.pop()
                self._inside[-1] += spent

        setattr(owner, name, watched)


class Suite:
    """The suite's loop over seeds of one batch, from its run directories to its events. Physics is watched."""

    def __init__(self, game: str, optim: str, seeds: int, folder: Path) -> None:
        name = next(name for name in choices("exp") if name.replace("_", "") == f"ppo{game.lower()}")
        common = [f"exp={name}", f"optim={optim}", "scale=paper", "evaluation.every=100000", "checkpoint.every=100000"]
        configs = [compose([*common, f"seed={seed}", f"launch.seeds_per_process={seeds}"])[0] for seed in range(seeds)]
        require_stackable(configs)
        directories = [RunDirectory.open_or_create(folder, config) for config in configs]
        part = Part(micro_batch=configs[0].global_batch_size)
        self.task = cast(Any, tasks.build(configs[0], part, range(seeds)))  # its inner calls are watched
        members = list(zip(configs, directories, strict=True))
        self.run, self.seeds = Run(members, self.task, part), seeds
        self.run.resume()
        self.stopwatch = Stopwatch()
        self.stopwatch.watch(self.task.sampler.environment._batch, "step", PHYSICS)

    def train(self, rollouts: int) -> None:
        with Interruption() as interruption:
            self.run.perform(interruption, until=self.run.update + rollouts * self.task.updates_per_epoch)

    def watch_all(self) -> None:
        """From now on the stopwatch tells `PARTS` apart; that costs about a microsecond a call."""
        watch, sampler, module = self.stopwatch.watch, self.task.sampler, self.task.module
        acting = module.acting

        def watched_acting() -> Any:
            held = SimpleNamespace(means=acting())
            watch(held, "means", "inference")
            return held.means

        module.acting = watched_acting
        watch(sampler.environment, "step", "environment")
        watch(sampler.normalizer, "step", "normalise")
        watch(sampler.reward_normalizer, "step", "normalise")
        watch(sampler, "collect", "rollout")
        for name in ("packed", "mini_batches"):
            watch(ppo, name, "prepare")  # for every task of this process: the last one measured is that of this suite
        (player,) = self.run.players.values()
        watch(player.step, "_gradients", "learning")
        watch(player.step, "_clip", "learning")
        watch(player.optimizer, "step", "optimizer")
