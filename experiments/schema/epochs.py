"""Epochs into updates: the arithmetic that plan, loop, tasks and checks share.

A run whose budget counts updates has epochs, too, as events and the loop know them: the stretches between two
evaluations, of which the last may be shorter. They have nothing to do with passes over the data.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from experiments.schema.config import RunConfig
from experiments.schema.task_info import info


@dataclass(frozen=True)
class Epochs:
    """The updates of each epoch of a run, which need not be equally many. Updates count from 1, epochs from 0."""

    updates: tuple[int, ...]

    @classmethod
    def equal(cls, updates_per_epoch: int, epochs: int) -> Epochs:
        """`epochs` epochs of as many updates each."""
        return cls((updates_per_epoch,) * epochs)

    @classmethod
    def from_event(cls, updates_per_epoch: int | Sequence[int], total_updates: int) -> Epochs:
        """Inverse of `for_event`."""
        if isinstance(updates_per_epoch, int):
            whole, rest = divmod(total_updates, updates_per_epoch)
            return cls((updates_per_epoch,) * whole + ((rest,) if rest else ()))
        return cls(tuple(updates_per_epoch))

    @property
    def for_event(self) -> int | list[int]:
        """The form in which the event log and the plan say it: one number where all epochs are equal, save perhaps a
        shorter last one, else that of each."""
        most = self.updates[0]
        equal = {most} >= {*self.updates[:-1]} and self.updates[-1] <= most
        return most if equal else list(self.updates)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The last update of each epoch."""
        return tuple(accumulate(self.updates))

    @property
    def total_updates(self) -> int:
        """Updates of the whole run."""
        return self.ends[-1]

    def of(self, update: int) -> tuple[int, int]:
        """The epoch of `update` and its place in it, from 0."""
        epoch = bisect_left(self.ends, update)
        return epoch, update - 1 - (self.ends[epoch - 1] if epoch else 0)

    def done(self, update: int) -> int:
        """Whole epochs in the first `update` updates."""
        return bisect_right(self.ends, update)

    def ends_with(self, update: int) -> bool:
        """Whether `update` is the last of its epoch; of no update (0), true."""
        return update == 0 or self.ends[self.done(update) - 1] == update


def of_run(config: RunConfig) -> Epochs:
    """The epochs of a run, cool-down included: equal ones, or what its task says; of a run that counts updates the
    stretches between evaluations."""
    if config.schedule.updates is not None:
        return Epochs.from_event(min(config.evaluation.every, config.schedule.updates), config.schedule.updates)
    if (epochs := info(config.task).epochs) is not None:
        return epochs(config)
    return Epochs.equal(updates_per_epoch(config), config.total_epochs)


def samples_per_epoch(config: RunConfig) -> int:
    """Training samples that one epoch draws: those of the training set once, or what the task says."""
    if config.updates is not None:
        return config.evaluation.every * config.global_batch_size
    counted = info(config.task).samples_per_epoch
    return config.data.train_size if counted is None else counted(config)


def updates_per_epoch(config: RunConfig) -> int:
    """Optimizer updates in one epoch where all are equal; the last, smaller batch counts only where `drop_last` is
    false."""
    whole, rest = divmod(samples_per_epoch(config), config.global_batch_size)
    return whole if config.drop_last or not rest else whole + 1


def total_updates(config: RunConfig) -> int:
    """Optimizer updates of the whole run, cool-down included."""
    return of_run(config).total_updates
