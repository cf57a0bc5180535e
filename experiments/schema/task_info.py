"""Facts about a kind of task without its implementation, found by its name. No torch.

Kinds that come with this suite are entries of `experiments.tasks.catalogue`; an installed package announces one of its
own as an entry point:

    [project.entry-points."adan_reproduction.tasks"]
    toy = "my_package:TOY"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from pathlib import Path

    from experiments.schema.config import DataConfig, ModelConfig, RunConfig
    from experiments.schema.epochs import Epochs

ENTRY_POINT_GROUP = "adan_reproduction.tasks"
CATALOGUE = "experiments.tasks.catalogue"  # a room below this one: it is looked up when the first task is named

Bounds = tuple[float | None, float | None]


def _nothing(config: RunConfig) -> None:
    return None


@dataclass(frozen=True)
class TaskInfo:
    """Facts about one kind of task.

    `implementation` is its class as "module:Class", called with (config, part), or with (config, part, seeds) where
    `several_seeds` of a run train as one batch; see `experiments.training.task.Task`.

    `reads` names the sections (`ppo`) and keys (`model.drop`) of a configuration that not every task reads: what one
    task lists, another that does not list it refuses, and its plan leaves out. `choices` and `bounds` (smallest and
    largest, None: no bound) of such keys hold for tasks that read them. `data` is what `data=` must name: `images`,
    `text` (a data set with a vocabulary), or another word for a task that takes none but its experiment's own.

    `missing(config)` says in one sentence what the user must provide, or None; `identity(config)` what would be read,
    by its contents (`experiments.record.same_data`); `check(config)` raises UserError for values that do not fit each
    other, `check_model(config)` for a model that cannot be trained so, which may import torch.

    `epochs(config)` and `samples_per_epoch(config)` count where a pass over `data.train_size` samples is no epoch. For
    a plan `build_model(model, data)` builds the module on the meta device from those two sections (without it
    `experiments.models` does), `describe_data(config)` is the line about the data, `sample` and `term` are the words
    for many of what the data and a loss consist of. With `single_thread` its models are too small for a second thread
    at any scale.

    With `replayable` its updates can be recorded in CUDA graphs (`experiments.training.task.Task` says what that asks).

    `memory(config)` is what it keeps on each rank's device beside the module, in bytes by what it is for.

    `players` names the parts of its module that may take turns at updates (`experiments.training.task.Task`).

    `parents` are kinds of task whose runs it begins from (`parent=`), and without one it cannot begin;
    `accept(config, record)` raises UserError for the record of a run that is of such a kind and yet no parent. With
    `begin_from_checkpoint(config, folder)` a folder of weights will do (`init=`): it fills in what the folder says.
    """

    name: str
    implementation: str
    missing: Callable[[RunConfig], str | None]
    identity: Callable[[RunConfig], dict[str, Any]]
    data: str = "images"
    reads: tuple[str, ...] = ()
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    check: Callable[[RunConfig], None] = _nothing
    check_model: Callable[[RunConfig], None] = _nothing
    build_model: Callable[[ModelConfig, DataConfig], Any] | None = None
    epochs: Callable[[RunConfig], Epochs] | None = None
    samples_per_epoch: Callable[[RunConfig], int] | None = None
    describe_data: Callable[[RunConfig], str] | None = None
    sample: str = "samples"
    term: str = "samples"
    several_seeds: bool = False
    single_thread: bool = False
    players: tuple[str, ...] = ()
    replayable: bool = False
    memory: Callable[[RunConfig], dict[str, int]] = lambda config: {}
    parents: tuple[str, ...] = ()
    accept: Callable[[RunConfig, Mapping[str, Any]], None] | None = None
    begin_from_checkpoint: Callable[[RunConfig, Path], None] | None = None

    def reads_key(self, key: str) -> bool:
        """Whether `reads` lists a dotted key, or the section that it is in."""
        return key in self.reads or key.split(".")[0] in self.reads

    def load(self) -> Callable[..., Any]:
        """The class that implements it. Raises UserError where a package's module cannot be imported."""
        module, _, name = self.implementation.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UserError(f"task={self.name}: {self.implementation} cannot be loaded: {error}") from error


@cache
def _announced() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


@cache
def _load(name: str) -> TaskInfo:
    point = _announced()[name]
    try:
        found = point.load()
    except Exception as error:  # a package of somebody else's may fail in any way
        raise UserError(f"task={name}: entry point {point.value} cannot be loaded: {error!r}") from error
    if not isinstance(found, TaskInfo):
        raise UserError(f"task={name}: entry point {point.value} is no TaskInfo but a {type(found).__name__}")
    if found.name != name:
        raise UserError(f"task={name}: entry point {point.value} names itself {found.name!r}: both must be the same")
    return found


def _catalogue() -> Mapping[str, TaskInfo]:
    return import_module(CATALOGUE).CATALOGUE


def info(name: str) -> TaskInfo:
    """The facts about the kind of task `name`. Raises UserError, with the nearest name, for an unknown one."""
    found = _catalogue().get(name)
    if found is None and name in _announced():
        found = _load(name)
    if found is None:
        raise UserError(f"task={name}: no such kind of task{suggestion(name, [*_catalogue(), *_announced()])}")
    return found


def readers(key: str, task: TaskInfo) -> list[str]:
    """The kinds of task that read a dotted key which not every task reads, `task` among those asked; empty for a key
    that all read."""
    return [each.name for each in {**_catalogue(), task.name: task}.values() if each.reads_key(key)]


def is_read(key: str, task: TaskInfo) -> bool:
    """Whether `task` reads a dotted key: one that it lists, or that no task does."""
    return task.reads_key(key) or not readers(key, task)
