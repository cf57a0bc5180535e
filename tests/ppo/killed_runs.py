"""Real processes that train runs of several seeds and are really killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["experiments.launch.worker", "experiments.tasks.ppo", "torch._dynamo"])


def train_in_child(paths: list[Path], kill_at: int | None = None, number: int = signal.SIGKILL) -> int:
    """Run the worker on run directories in a child process; return its exit status (-9 when killed). With `kill_at`
    the child gets the signal when it is about to step that update."""
    child = server.Process(target=_work, args=(paths, kill_at, number))
    child.start()
    child.join()
    return child.exitcode


def _work(paths: list[Path], kill_at: int | None, number: int) -> None:
    import torch

    from experiments.launch.worker import run
    from experiments.training.step import Step

    torch.set_num_threads(1)
    step = Step.__call__

    def stepping(self: Step, current: int, *arguments: object):
        if current == kill_at:
            os.kill(os.getpid(), number)
        return step(self, current, *arguments)  # type: ignore[arg-type]

    Step.__call__ = stepping  # type: ignore[method-assign]
    os._exit(run(*paths))
