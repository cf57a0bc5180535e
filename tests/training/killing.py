"""Real processes that train a run and are really killed. A fork server pays for the imports once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["experiments.launch.worker", "experiments.tasks.image_classification", "torch._dynamo"])


def train_in_child(path: Path, prepare: Callable[..., None] | None = None, *arguments: object) -> int:
    """Run the worker on a run directory in a child process; return its exit status (-9 when killed)."""
    child = server.Process(target=_work, args=(path, prepare, arguments))
    child.start()
    child.join()
    return child.exitcode


def _work(path: Path, prepare: Callable[..., None] | None, arguments: tuple[object, ...]) -> None:
    import torch

    from experiments.launch.worker import run

    torch.set_num_threads(1)
    if prepare is not None:
        prepare(*arguments)
    os._exit(run(path))


def kill_at_update(update: int, number: int = signal.SIGKILL) -> None:
    """Signal this process when it is about to step `update`."""
    from experiments.training.step import Step

    step = Step.__call__

    def stepping(self: Step, current: int, *arguments: object):
        if current == update:
            os.kill(os.getpid(), number)
        return step(self, current, *arguments)  # type: ignore[arg-type]

    Step.__call__ = stepping  # type: ignore[method-assign]


def kill_in_save(count: int, stage: str) -> None:
    """Kill this process inside the `count`-th checkpoint save: when half the bytes are written, before the rename,
    or just after it."""
    from experiments.training import checkpoint

    saves = 0
    save = checkpoint.save

    def saving(*arguments: object, **keywords: object):
        nonlocal saves
        saves += 1
        if saves == count:
            _die_at(stage)
        return save(*arguments, **keywords)

    checkpoint.save = saving  # type: ignore[assignment]


def print_into(path: Path) -> None:
    """Let this process print into a file."""
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), 1)


def _die_at(stage: str) -> None:
    replace, fsync = os.replace, os.fsync

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def syncing(descriptor: int) -> None:
        if stage == "half written" and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            kill()
        fsync(descriptor)

    def replacing(*arguments: object, **keywords: object) -> None:
        if stage == "before rename":
            kill()
        replace(*arguments, **keywords)  # type: ignore[arg-type]
        kill()

    os.fsync, os.replace = syncing, replacing  # type: ignore[assignment]
