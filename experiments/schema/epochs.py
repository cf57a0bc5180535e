"""Epochs into updates: the arithmetic that plan, task and checks share.

A run whose budget counts updates has epochs, too, as events and the loop know them: the stretches between two
evaluations, of which the last may be shorter. They have nothing to do with passes over the data.
"""

from __future__ import annotations

from experiments.schema.budget import stop_update
from experiments.schema.config import RunConfig

REPEATED_AUGMENTATION_ROUND = 256


def samples_per_epoch(config: RunConfig) -> int:
    """Training samples that one epoch draws; of PPO, those of a rollout as often as they are seen.

    With repeated augmentation that is the size of the training set, rounded down to a multiple of 256, whatever
    the number of repeats (`RepeatAugSampler` of timm, `selected_round`; sets smaller than that are taken whole).
    """
    if config.updates is not None:
        return config.evaluation.every * config.global_batch_size
    if config.task == "ppo":
        return config.ppo.rollout_steps * config.ppo.passes
    size = config.data.train_size
    if config.augmentation.repeats and size >= REPEATED_AUGMENTATION_ROUND:
        return size // REPEATED_AUGMENTATION_ROUND * REPEATED_AUGMENTATION_ROUND
    return size


def updates_per_epoch(config: RunConfig) -> int:
    """Optimizer updates in one epoch; the last, smaller batch counts only where `drop_last` is false."""
    whole, rest = divmod(samples_per_epoch(config), config.global_batch_size)
    return whole if config.drop_last or not rest else whole + 1


def total_updates(config: RunConfig) -> int:
    """Optimizer updates of the whole run, cool-down included."""
    if config.schedule.updates is not None:
        return config.schedule.updates
    return updates_per_epoch(config) * config.total_epochs


def stop(config: RunConfig) -> int | None:
    """The update after which `stop_at` ends the run, None where it is not set. Raises UserError for no such point."""
    return stop_update(config.stop_at, None if config.updates is not None else updates_per_epoch(config))
