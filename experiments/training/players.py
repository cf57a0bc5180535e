"""Who trains: mostly one player, all of the task's module; or several parts of it that take turns at updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from experiments import optimizers
from experiments.optimizers.on_device import keep_on_device, portable
from experiments.optimizers.registry import captures
from experiments.optimizers.schedules import momentum_of_update, rate_of_update
from experiments.optimizers.stacked_runs import set_momenta, set_rates
from experiments.schema.config import RunConfig
from experiments.schema.epochs import Epochs
from experiments.schema.errors import UserError, suggestion
from experiments.schema.players import ONLY, names, of_each, of_player
from experiments.training import parallel
from experiments.training.captured_step import CapturedStep
from experiments.training.divergence import Divergence
from experiments.training.norms import Norms
from experiments.training.precision import gradient_scaler
from experiments.training.scaling import ScalerOnDevice
from experiments.training.step import Step
from experiments.training.task import Part, Task


@dataclass
class Player:
    """What trains one part of a module; `configs` are those of each run of the batch, as this player trains by them."""

    configs: list[RunConfig]
    optimizer: Optimizer
    scaler: ScalerOnDevice
    norms: Norms
    step: Step | CapturedStep
    on_device: bool

    def rates(self, epochs: Epochs, update: int) -> list[float]:
        """The learning rate of each run at `update`."""
        of_peak: dict[float, float] = {}
        for config in self.configs:
            if (peak := config.optim["lr"]) not in of_peak:
                of_peak[peak] = rate_of_update(config, epochs, update)
        return [of_peak[config.optim["lr"]] for config in self.configs]

    def follow_schedule(self, epochs: Epochs, update: int) -> None:
        """Give the optimizer the rates and momenta of `update`."""
        set_rates(self.optimizer, self.rates(epochs, update))
        set_momenta(self.optimizer, [momentum_of_update(config, epochs, update) for config in self.configs])

    def optimizer_state(self) -> dict[str, Any]:
        """The optimizer's `state_dict`, in the same form wherever its numbers are kept."""
        state = self.optimizer.state_dict()
        return portable(state) if self.on_device else state

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Inverse of `optimizer_state`."""
        self.optimizer.load_state_dict(state)
        if self.on_device:
            keep_on_device(self.optimizer)


def players_of(task: Task, configs: Sequence[RunConfig], part: Part) -> tuple[dict[str, Player], Divergence]:
    """The players of a task by name, and what watches over all of them.

    Raises UserError for players that the task does not have.
    """
    config, runs = configs[0], len(configs)
    _require_players(config, task)
    modules = {name: task.module.get_submodule(name) for name in names(config)}
    own = {name: [of_player(each, name) for each in configs] for name in modules}
    built = {
        name: optimizers.build(own[name][0].optim, module, [each.optim["lr"] for each in own[name]])
        for name, module in modules.items()
    }
    divergence = Divergence(task.module, built, runs)
    players: dict[str, Player] = {}
    for name, module in modules.items():
        norms, scaler = Norms(module, runs, part.device), gradient_scaler(config.precision, part.device)
        step = Step(
            task=task,
            player=name,
            module=module,
            others=[
                parameter
                for other in modules.values()
                for parameter in other.parameters()
                if other is not module and parameter.requires_grad
            ],
            call=parallel.wrap(module, part.world_size, part.device, config.model.compile),
            optimizer=built[name],
            divergence=divergence,
            norms=norms,
            scaler=scaler,
            part=part,
            seed=config.seed,
            precision=config.precision,
            clip_grad_norm=config.clip_grad_norm,
        )
        on_device = part.device.type == "cuda" and captures(own[name][0].optim)
        if on_device:
            keep_on_device(built[name])
        players[name] = Player(own[name], built[name], scaler, norms, step, on_device)
    return players, divergence


def described(config: RunConfig, players: Mapping[str, Player]) -> Any:
    """What ran, for the record: `optimizers.describe` of the only player, or of each by its name."""
    return of_each(config, lambda name: optimizers.describe(players[name].optimizer))


def _require_players(config: RunConfig, task: Task) -> None:
    if config.players and not hasattr(task, "player"):
        raise UserError(f"players.{next(iter(config.players))}: {config.task} has one player, all of its module")
    parts = [name for name, _ in task.module.named_children()]
    for name in config.players:
        if name not in parts:
            raise UserError(f"players.{name}: the module of {config.task} has no such part{suggestion(name, parts)}")


def whose_turn(task: Task, config: RunConfig, update: int) -> str:
    """The player that performs `update`."""
    return task.player(update) if config.players else ONLY  # type: ignore[attr-defined]
