"""Which runs of a command train as one batch in one process: those that differ in seed and learning rate alone."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from experiments.optimizers import registry
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.schema.task_info import info as task_info

STACKED = ("fp32", "fp64")  # number formats in which runs are stacked


def seed_batches(configs: Sequence[RunConfig]) -> list[list[RunConfig]]:
    """Cut runs into batches of at most `launch.seeds_per_process` seeds, at every learning rate that they are asked
    for at, in the order in which they come; runs of one rate stand side by side."""
    batches: list[list[RunConfig]] = []
    filling: dict[str, list[RunConfig]] = {}
    for config in configs:
        size, alike = config.launch.seeds_per_process, _but_for_the_rate(config)
        batch = filling.get(alike)
        if batch is None or size == 1 or len({other.seed for other in batch} | {config.seed}) > size:
            batch = filling[alike] = []
            batches.append(batch)
        batch.append(config)
    return [sorted(batch, key=lambda config: config.optim["lr"]) for batch in batches]


def _but_for_the_rate(config: RunConfig) -> str:
    """Digest what runs of a batch have in common."""
    alike = copy.copy(config)
    alike.optim = {**config.optim, "lr": 0.0}
    return config_digest(alike)


def require_stackable(configs: Iterable[RunConfig]) -> None:
    """Raise UserError for runs that were asked to share a process but cannot be stacked.

    The optimizer sees the parameters of all seeds as one tensor: what it does to a number must depend on that number's
    own gradients alone.
    """
    for config in configs:
        if config.launch.seeds_per_process == 1:
            continue
        asked = f"launch.seeds_per_process={config.launch.seeds_per_process} (command line)"
        if not task_info(config.task).several_seeds:
            raise UserError(f"{asked}: {config.task} trains one seed in a process; leave it at 1")
        if config.precision not in STACKED:
            raise UserError(
                f"{asked}: runs that share a process train in {' or '.join(STACKED)}, not {config.precision}"
            )
        info, settings, _ = registry.resolve(config.optim)
        if not info.elementwise:
            raise UserError(
                f"{asked}: {info.name} is not element-wise, so stacked seeds would mix; run one seed in a process with "
                "launch.seeds_per_process=1 (and launch.jobs=2 or more to use several cores)"
            )
        if settings.get("max_grad_norm"):
            raise UserError(
                f"{asked}: optim.max_grad_norm={settings['max_grad_norm']:g} clips by the norm of all seeds together; "
                "set optim.max_grad_norm=0 (clip_grad_norm clips each seed by its own), or launch.seeds_per_process=1"
            )
