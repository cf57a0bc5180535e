"""Epochs into updates: the arithmetic that plan, task and checks share."""

from __future__ import annotations

from experiments.schema.config import RunConfig

REPEATED_AUGMENTATION_ROUND = 256


def samples_per_epoch(config: RunConfig) -> int:
    """Training samples that one epoch draws; of PPO, those of a rollout as often as they are seen.

    With repeated augmentation that is the size of the training set, rounded down to a multiple of 256, whatever
    the number of repeats (`RepeatAugSampler` of timm, `selected_round`; sets smaller than that are taken whole).
    """
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
    return updates_per_epoch(config) * config.total_epochs
