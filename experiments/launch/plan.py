"""`launch=plan`: what a run will do and need. Spends nothing: the model is built without memory, data is not read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from experiments import tasks
from experiments.optimizers import registry
from experiments.optimizers.facts import BYTES_PER_FLOAT, Shape
from experiments.optimizers.schedules import momentum_of_update, rate_of_update
from experiments.schema.batches import accumulation, micro_batch
from experiments.schema.budget import budget_of, stop_of
from experiments.schema.config import DataConfig, ModelConfig, RunConfig
from experiments.schema.digest import canonical_json, config_digest
from experiments.schema.epochs import Epochs, of_run, samples_per_epoch
from experiments.schema.players import ONLY, names, of_player
from experiments.schema.task_info import info
from experiments.schema.typed import to_dict

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Plan:
    """One run in numbers. Epochs include the cool-down; memory is in bytes, without activations. Of the parameters in
    `shapes` those that are not `trained` have no gradient and no optimizer state."""

    config: RunConfig
    shapes: Mapping[str, Shape]
    trained: Mapping[str, Shape]
    epochs: Epochs
    micro_batch: int
    accumulation: int
    missing_data: str | None

    @property
    def n_parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    @property
    def n_trained_parameters(self) -> int:
        return sum(map(math.prod, self.trained.values()))

    @property
    def n_layer_parameters(self) -> int | None:
        """Those of a language model's layers: without embedding and softmax, as Transformer-XL's logs count them."""
        if not self.config.data.vocabulary:
            return None
        return sum(math.prod(shape) for name, shape in self.shapes.items() if name.startswith("layers."))

    @property
    def total_updates(self) -> int:
        return self.epochs.total_updates

    @property
    def total_samples(self) -> int:
        if self.config.updates is not None:
            return self.total_updates * self.config.global_batch_size
        return samples_per_epoch(self.config) * self.config.total_epochs - self.config.total_epochs * self._dropped

    @property
    def memory(self) -> dict[str, int]:
        """Bytes on each rank, by what they are for."""
        floats = {
            "parameters": self.n_parameters,
            "gradients": self.n_trained_parameters,
            "optimizer_state": sum(floats_of_state(*player) for player in self.players.values()),
        }
        if self.config.ema_decay is not None:
            floats["ema"] = self.n_parameters
        width = 2 * BYTES_PER_FLOAT if self.config.precision == "fp64" else BYTES_PER_FLOAT
        return {name: count * width for name, count in floats.items()} | info(self.config.task).memory(self.config)

    @property
    def warnings(self) -> list[str]:
        """Warnings for a reader of the plan, before a run."""
        found = []
        per_device = self.config.batch_per_device
        if self.micro_batch != per_device:
            found.append(
                f"micro-batch {self.micro_batch} is not the recipe's batch per device of {per_device}: models with "
                "batch norm see other statistics (mixup keeps the recipe's)"
            )
        if self.config.overrides:
            found.append(f"changed on the command line, no longer the recipe: {', '.join(self.config.overrides)}")
        stop = stop_of(self.config)
        if stop is not None:
            found.append(
                f"stop_at={self.config.stop_at}: it ends after update {stop:,} of {self.total_updates:,}, with a "
                "partial record; the counts are those of the whole run"
            )
        if self.config.scale != "paper":
            found.append(f"{self.config.scale} scale: never compared with the paper's numbers")
        return found

    @property
    def players(self) -> dict[str, tuple[RunConfig, Mapping[str, Shape]]]:
        """Of each player its configuration and the parameters that it trains; of most runs one, with all of them."""
        return {
            name: (
                of_player(self.config, name),
                {key: self.trained[key] for key in self.trained if _belongs(key, name)},
            )
            for name in names(self.config)
        }

    def rate_of(self, update: int) -> float:
        """The learning rate that `update`, counted from 1, uses, before the `lr_scales` of parameter groups."""
        return rate_of_update(self.config, self.epochs, update)

    def rates_of(self, player: RunConfig) -> list[float]:
        """As `rates`, of a player."""
        return [rate_of_update(player, self.epochs, update) for update in self._firsts]

    @property
    def rates(self) -> list[float]:
        """The learning rate of the first update of every epoch, or of every stretch between evaluations."""
        return self.rates_of(self.config)

    @property
    def momenta(self) -> list[float | None]:
        """The momentum of the same updates; None where it does not move."""
        return [momentum_of_update(self.config, self.epochs, update) for update in self._firsts]

    @cached_property
    def lr_scales(self) -> list[float]:
        """What parameter groups multiply the rate by, from the lowest layer's up; 1 alone without layer decay."""
        return scales_of_groups(self.config)

    @property
    def _firsts(self) -> list[int]:
        """The first update of every epoch."""
        return [end - count + 1 for end, count in zip(self.epochs.ends, self.epochs.updates, strict=True)]

    @property
    def _dropped(self) -> int:
        """Samples of an epoch that no update uses."""
        return samples_per_epoch(self.config) % self.config.global_batch_size if self.config.drop_last else 0

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON. `lr_at` maps updates, counted from 1, to the rate that each uses; every rate is that of
        the groups whose `lr_scales` is 1."""
        config, nominal = self.config, budget_of(vars(self.config))
        return {
            "exp": config.exp,
            "optim": config.optim["name"],
            "recipe": config.recipe,
            "scale": config.scale,
            "seed": config.seed,
            "n_parameters": self.n_parameters,
            "n_trained_parameters": self.n_trained_parameters,
            "n_layer_parameters": self.n_layer_parameters,
            "epochs": config.total_epochs,
            f"nominal_{nominal.unit}": nominal.count,
            "updates_per_epoch": self.epochs.for_event,
            "total_updates": self.total_updates,
            "total_samples": self.total_samples,
            "global_batch_size": config.global_batch_size,
            "nominal_batch_size": config.batch_size,
            "micro_batch": self.micro_batch,
            "accumulation": self.accumulation,
            "ranks": config.launch.devices,
            "batch_per_device": config.batch_per_device,
            "optimizer": config.optim,
            "lr_moves_within_epochs": config.schedule.per_update,
            "lr_per_epoch": self.rates,
            "lr_scales": self.lr_scales,
            "players": {
                name: {"optimizer": player.optim, "lr_per_epoch": self.rates_of(player)}
                for name, (player, _) in self.players.items()
                if name != ONLY
            },
            "momentum_per_epoch": self.momenta,
            "lr_at": {str(update): self.rate_of(update) for update in config.launch.lr_at},
            "memory_bytes": self.memory,
            "missing_data": self.missing_data,
            "warnings": self.warnings,
            "config_digest": config_digest(config),
            "provenance": config.provenance,
            "disagreements": config.disagreements,
            "config": to_dict(config),
        }


def make(config: RunConfig) -> Plan:
    """The plan of one run. Raises UserError for a model or an optimizer that cannot be built."""
    for name in names(config):
        registry.resolve(of_player(config, name).optim)
    ranks, tree = config.launch.devices, to_dict(config)
    shapes, trained = parameter_shapes(config.task, canonical_json(tree["model"]), canonical_json(tree["data"]))
    return Plan(
        config=config,
        shapes=shapes,
        trained=trained,
        epochs=of_run(config),
        micro_batch=micro_batch(config, ranks),
        accumulation=accumulation(config, ranks),
        missing_data=tasks.missing(config),
    )


def floats_of_state(config: RunConfig, shapes: Mapping[str, Shape]) -> int:
    """Floats of optimizer state for parameters of these names and shapes."""
    facts, settings, _ = registry.resolve(config.optim)
    return sum(facts.floats(settings, shape, name) for name, shape in shapes.items())


def _belongs(parameter: str, player: str) -> bool:
    return player == ONLY or parameter.startswith(f"{player}.")


def scales_of_groups(config: RunConfig) -> list[float]:
    """The different `lr_scale` of the parameter groups. Raises UserError for a model without layers to tell."""
    _, settings, grouping = registry.resolve(config.optim)
    if grouping["layer_decay"] == 1.0:
        return [1.0]
    from experiments.optimizers.parameter_groups import parameter_groups

    module = _without_memory(config.task, config.model, config.data)
    groups = parameter_groups(module, settings.get("weight_decay", 0.0), **grouping)
    return sorted({group["lr_scale"] for group in groups})


@lru_cache(maxsize=64)
def parameter_shapes(task: str, model: str, data_set: str) -> tuple[Mapping[str, Shape], Mapping[str, Shape]]:
    """Parameters of the task's model, built on the meta device: all, and those that training changes. Both sections
    come as JSON, so that cells can share one."""
    module = _without_memory(task, ModelConfig(**json.loads(model)), DataConfig(**json.loads(data_set)))
    parameters = list(module.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters}
    return shapes, {name: shapes[name] for name, parameter in parameters if parameter.requires_grad}


def _without_memory(task: str, model: ModelConfig, data_set: DataConfig) -> nn.Module:
    import torch

    from experiments import models

    with torch.device("meta"):
        return (info(task).build_model or models.build)(model, data_set)
