"""PPO on MuJoCo: an update is a step on one mini-batch of each seed, an epoch a rollout seen several times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from experiments import models
from experiments.data.streams import derive, reseed
from experiments.environments.normalization import RunningMoments
from experiments.models.actor_critic import ActorCritic, StackedActorCritic
from experiments.ppo.collection import Rollout, Sampler
from experiments.ppo.evaluation import Evaluation
from experiments.ppo.objective import MiniBatch, Objective
from experiments.ppo.samples import mini_batches, packed
from experiments.ppo.stacked_objective import stacked_objective
from experiments.schema.config import RunConfig
from experiments.schema.epochs import updates_per_epoch
from experiments.schema.errors import UserError
from experiments.training.task import EachRun, Loss, Part


class PPO:
    """The `Task` of every experiment on MuJoCo, for one seed or for several as one batch.

    The current rollout, the environments and the normalisers are its state; all else is a function of (seed, update).
    """

    def __init__(self, config: RunConfig, part: Part, seeds: Sequence[int] = ()) -> None:
        """Raises UserError for a split that is not possible, and for sizes of the model that are not the game's."""
        self.config, self.seeds = config, list(seeds) or [config.seed]
        if part.world_size > 1 or part.micro_batch != config.global_batch_size:
            asked = f"launch.devices={part.world_size}, launch.micro_batch={part.micro_batch}"
            raise UserError(
                f"{asked}: PPO computes a mini-batch of {config.global_batch_size} in one piece; choose "
                "launch.devices=1, with launch.jobs to use more cores"
            )
        self.updates_per_epoch = updates_per_epoch(config)
        self.sampler = Sampler(config.ppo, self.seeds)
        self._check_sizes()
        agents = [self._agent(seed) for seed in self.seeds]
        self.module: nn.Module = StackedActorCritic(agents) if len(agents) > 1 else agents[0]
        self.module.to(part.device)
        self.objective = Objective(config.ppo)
        self.return_moments = RunningMoments(len(self.seeds), initial_count=0.0)
        self.update = 0
        self.rollout: Rollout | None = None
        self.samples: Tensor | None = None
        self.batches: list[MiniBatch] = []

    def count(self, update: int) -> int:
        """Samples of a mini-batch of one seed."""
        return self.config.global_batch_size

    def micro_batches(self, update: int) -> Iterator[MiniBatch]:
        """The mini-batches of all seeds, of a new rollout where `update` begins one."""
        rollout, position = divmod(update - 1, self.updates_per_epoch)
        passage, index = divmod(position, self.updates_per_epoch // self.config.ppo.passes)
        config, actions = self.config.ppo, self.sampler.environment.action_size
        if position == 0:
            self.rollout = self.sampler.collect(self.module, rollout)
        assert self.rollout is not None
        if position == 0 or (index == 0 and config.recompute_advantages):
            self.samples = packed(config, self.module, self.rollout, self.return_moments)
        assert self.samples is not None
        if index == 0 or not self.batches:
            size = self.config.global_batch_size
            self.batches = mini_batches(config, self.samples, actions, size, self.seeds, rollout, passage)
        self.update = update
        yield self.batches[index]

    def loss(self, module: nn.Module, batch: MiniBatch) -> Loss:
        """The objective of each seed, as a sum over its samples."""
        if isinstance(module, StackedActorCritic):
            return Loss(stacked_objective(self.config.ppo, module, batch))
        return Loss(self.objective(module, batch))

    def evaluate(self, module: nn.Module) -> dict[str, Any]:
        """`episode_return` and `episode_length`, means over episodes on separate environments; and how many
        `environment_steps` each seed has learnt from."""
        evaluation = Evaluation(self.sampler)
        try:
            returns, lengths = evaluation(module, self.update)
        finally:
            evaluation.environment.close()
        done = self.update // self.updates_per_epoch * self.config.ppo.rollout_steps
        return {
            "episode_return": EachRun(returns.mean(1).tolist()),
            "episode_length": EachRun(lengths.mean(1).tolist()),
            "environment_steps": done,
        }

    def manifest(self) -> dict[str, Any]:
        """Engine, version and environment."""
        return {"name": "mujoco", **self.sampler.environment.identity}

    def state(self) -> dict[str, Any]:
        """Environments and normalisers, and within an epoch the rollout with what was estimated of it."""
        within = self.update % self.updates_per_epoch != 0
        return {
            "update": self.update,
            "sampler": self.sampler.state(),
            "return_moments": self.return_moments.state(),
            "rollout": self.rollout.state() if within and self.rollout is not None else None,
            "samples": self.samples if within else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.update, self.batches = state["update"], []
        self.sampler.load(state["sampler"])
        self.return_moments.load(state["return_moments"])
        rollout, samples = state["rollout"], state["samples"]
        self.rollout = None if rollout is None else Rollout(**rollout)
        self.samples = None if samples is None else samples.to(next(self.module.parameters()))

    def _agent(self, seed: int) -> ActorCritic:
        reseed(derive(seed, "initialisation"))
        return models.build(self.config.model, self.config.data)  # type: ignore[return-value]

    def _check_sizes(self) -> None:
        environment, config = self.sampler.environment, self.config
        if config.model.name != "actor_critic":
            raise UserError(f"model.name={config.model.name}: PPO trains an actor_critic")
        for key, value in (("observations", environment.observation_size), ("actions", environment.action_size)):
            if config.model.arguments.get(key) != value:
                raise UserError(
                    f"model.arguments.{key}={config.model.arguments.get(key)}: {config.ppo.game} has {value}; "
                    f"give model.arguments.{key}={value}"
                )
