"""The protocol between the loop and a task. Every kind of experiment is one implementation of `Task`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """The share of every update that this process computes.

    `micro_batch` is the number of samples in one forward pass; `global_batch_size / (micro_batch * world_size)`
    of them make this rank's share of an update.
    """

    rank: int = 0
    world_size: int = 1
    micro_batch: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass
class Loss:
    """Loss of one micro-batch: the differentiable *sum* of its terms, a scalar; or [seeds], one sum for each seed of a
    task that trains several at once.

    `count` is the number of terms (a number or a scalar) where only the forward pass knows it, as in detection: then
    in every micro-batch, and their sum over the update's divides in place of `Task.count`. `parts` are sums like `sum`
    under their names, each divided as it is: their means stand in the record beside the loss's. Every micro-batch of an
    update has the same ones. `carry`, without gradient, is what the next update begins with, for `Task.carry_on`.
    """

    sum: Tensor
    count: Tensor | float | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)
    carry: tuple[Tensor, ...] = ()


class EachRun(tuple):
    """One value for each run of a batch, in their order: for each seed, and where rates differ for each rate's."""


class Task(Protocol):
    """A kind of experiment. Updates count from 1, epochs from 0; which updates are an epoch's, and so when the run is
    evaluated and ends, is a function of the configuration (`experiments.schema.epochs.of_run`).

    A task whose runs begin from others' (`TaskInfo.parents`) has `adopt(module_state, task_state)`, which takes what it
    wants of the parent's final states, once, before anything is asked of it.

    A task may have players, children of its module that take turns at updates, with a configuration for each in
    `config.players`. Then it has `player(update)`, the name of the one whose turn it is, a pure function; `loss` gets
    that child as its module, and the parameters of the other players need no gradient meanwhile. The schedules of all
    go by the one count of updates.

    A task whose `TaskInfo.replayable` says so can be recorded in CUDA graphs: a micro-batch is a tree (tuples, lists,
    dictionaries) of tensors, and `loss` a function of these and of the module alone, by operations on the device. Its
    `evaluate` calls such functions through its attribute `perform`, `directly` at first, where the loop may put one
    that records (`experiments.training.replays`).

    A task whose losses have a `carry` has `carry_on(place, carry)`, which is told that of the micro-batch at each place
    of an update (from 0), once it is there.

    A task may train the runs of several seeds as one batch: its module then has `agents()`, one module for each seed,
    and `clip_grad_norm_(max_norm)`, which clips each seed's gradient by its own norm.
    """

    module: nn.Module

    def count(self, update: int) -> int:
        """Number of loss terms (samples, tokens) in the whole update, over all ranks and micro-batches; of samples
        where `Loss.count` tells the terms."""

    def micro_batches(self, update: int) -> Iterator[Any]:
        """This rank's micro-batches of `update`, on the device. A pure function of (seed, update); calls come in
        order of updates, so that an implementation can read ahead, but any first update is allowed (resume)."""

    def loss(self, module: nn.Module, batch: Any) -> Loss:
        """Run `module` (`self.module` or its player, perhaps wrapped by DDP or compiled) on one micro-batch."""

    def evaluate(self, module: nn.Module) -> dict[str, Any]:
        """Metrics on held-out data, summed over all ranks: the same answer on each; `EachRun` where seeds differ.
        Calls `module.eval()`."""

    def manifest(self) -> dict[str, Any]:
        """Identity of the data: name, sizes, digests."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beyond the module (recurrent memory, environment state); may be empty.
        Every rank is asked and gives the same answer: what ranks hold apart is gathered here."""

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`, on every rank, of which there may be another number now."""
