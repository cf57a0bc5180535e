"""A task of two players: a tiny GAN on points of the plane, whose generator has every third update."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from killing import kill_at_update
from small_run import SMALL
from torch import nn

from experiments.data.streams import derive, reseed
from experiments.record.run_directory import RunDirectory
from experiments.schema.compose import compose
from experiments.schema.config import MetricConfig, RunConfig
from experiments.schema.task_info import TaskInfo
from experiments.tasks.catalogue import CATALOGUE
from experiments.training.task import Loss, Part

CENTRE = torch.tensor([2.0, -1.0])
PLAYERS = {
    "generator": {"optim": {"lr": 0.002}, "schedule": {"warmup_epochs": 0, "min_lr": 0.001}},
    "discriminator": {"optim": {"name": "adam", "lr": 0.004, "betas": [0.5, 0.9]}, "schedule": {"name": "constant"}},
}


class ToyGAN:
    def __init__(self, config: RunConfig, part: Part) -> None:
        self.config, self.part = config, part
        reseed(derive(config.seed, "initialisation"))
        sizes = {"generator": 2, "discriminator": 1}
        self.module = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, size)) for name, size in sizes.items()}
        )

    def player(self, update: int) -> str:
        return "discriminator" if update % 3 else "generator"

    def count(self, update: int) -> int:
        return 32

    def micro_batches(self, update: int):
        stream = torch.Generator().manual_seed(derive(self.config.seed, "points", update) % 2**63)
        noise, real = torch.randn(2, 32, 2, generator=stream)
        for share in range(self.part.rank, 4, self.part.world_size):
            yield self.player(update), noise[share::4], real[share::4] + CENTRE

    def loss(self, module: nn.Module, batch) -> Loss:
        player, noise, real = batch
        if player == "generator":
            return Loss(F.softplus(-self.module["discriminator"](module(noise))).sum())
        fake = module(self.module["generator"](noise).detach())
        parts = {"real": F.softplus(-module(real)).sum(), "fake": F.softplus(fake).sum()}
        return Loss(parts["real"] + parts["fake"], parts=parts)

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        noise = torch.randn(256, 2, generator=torch.Generator().manual_seed(0))
        return {"distance": float((module["generator"](noise).mean(0) - CENTRE).norm())}

    def manifest(self) -> dict:
        return {"name": "points"}

    def state(self) -> dict:
        return {}

    def load(self, state: dict) -> None:
        pass


def gan_config(players: dict | None = None) -> RunConfig:
    (config,) = compose([*SMALL, "optim=adan"])
    metrics = {"distance": MetricConfig(direction="min")}
    return replace(config, task="toy_gan", players=players or PLAYERS, metrics=metrics, curve=None)


def begin_gan(folder: Path, players: dict | None = None) -> Path:
    return RunDirectory.open_or_create(folder, gan_config(players)).path


CATALOGUE["toy_gan"] = TaskInfo(
    name="toy_gan",
    implementation="toy_gan:ToyGAN",
    missing=lambda config: None,
    identity=lambda config: {"name": "points"},
    players=("generator", "discriminator"),
)


def with_toy_gan(kill_at: int | None = None) -> None:
    """Know the task, since this imports its module, and be killed when about to step the update `kill_at`."""
    if kill_at is not None:
        kill_at_update(kill_at)
