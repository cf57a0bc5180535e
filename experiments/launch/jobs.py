"""Persistent child processes that train one run after another, so that each pays for its imports once.

    with Jobs(count=2) as jobs:
        for item, status in jobs.map(items): ...

A child that dies (killed, out of memory) fails the run it was at and is replaced; the others do not notice.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from experiments.launch import surroundings
from experiments.launch.status import FAILED, REQUEUE
from experiments.launch.threads import share_cores
from experiments.training.interruption import STOPPING, handle_stops

Run = Path | tuple[Path, ...]  # the directory of a run, or those of runs that train as one batch


class Child:
    """One process and the pipe to it: run directories go in, exit statuses come out.

    With `quiet` what a run prints goes to `output.log` in its directory, the first one of a batch.
    """

    def __init__(self, index: int, quiet: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(far_end, index, quiet), daemon=False)
        self.process.start()
        far_end.close()

    def start(self, run: Run) -> None:
        """Begin to train the run of a directory, or those of several directories as one batch."""
        self.pipe.send(run)

    def result(self) -> int:
        """Wait for the run's exit status; for a process that was killed, minus the signal's number."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode or FAILED
            return REQUEUE if -code in STOPPING else code

    def terminate(self) -> None:
        """Ask the run to checkpoint and leave."""
        self.process.terminate()

    def close(self, at_once: bool) -> None:
        """Let the process end, after its run or at once."""
        self.pipe.close()
        if at_once:
            self.process.kill()
        self.process.join()


class Jobs:
    """`count` children at work on a list of run directories; each run has `ranks` processes of its own."""

    def __init__(self, count: int, ranks: int = 1) -> None:
        self.count = count
        self.ranks = ranks
        self.stopping = False
        self._idle: list[Child] = []
        self._busy: dict[Connection, tuple[Child, Run]] = {}

    def __enter__(self) -> Jobs:
        share_cores(self.count * self.ranks)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for child in [*self._idle, *(child for child, _ in self._busy.values())]:
            child.close(at_once=kind is not None)

    def map(self, runs: Iterable[Run]) -> Iterator[tuple[Run, int]]:
        """Train `runs`, at most `count` at a time, in order; yield each with its exit status as it ends. The iterable
        is advanced only when a child is free, and no more once `stop` was called."""
        waiting = iter(runs)
        while True:
            while not self.stopping and len(self._busy) < self.count:
                run = next(waiting, None)
                if run is None:
                    break
                child = self._idle.pop() if self._idle else Child(len(self._busy), quiet=self.count > 1)
                child.start(run)
                self._busy[child.pipe] = child, run
                if self.stopping:
                    child.terminate()
            if not self._busy:
                return
            for pipe in wait(list(self._busy)):
                assert isinstance(pipe, Connection)
                child, run = self._busy.pop(pipe)
                status = child.result()
                if child.process.is_alive():
                    self._idle.append(child)
                yield run, status

    def stop(self) -> None:
        """Begin no other run, and ask those under way to checkpoint and leave. Safe in a signal handler."""
        self.stopping = True
        for child, _ in list(self._busy.values()):
            child.terminate()


def _serve(pipe: Connection, index: int, quiet: bool) -> None:
    """Main function of the `index`-th child, which takes the GPU of that number (modulo what is there).

    Ctrl-C is the parent's to handle; SIGTERM or SIGHUP between two runs ends the process. When the parent is gone, even
    by SIGKILL, the run under way checkpoints and leaves.
    """
    surroundings.settle()
    os.environ["LOCAL_RANK"] = str(index)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_the_parent, daemon=True).start()
    from experiments.launch.local import train

    def leave(_number: int, _frame: object) -> None:
        sys.exit(REQUEUE)

    while True:
        handle_stops(leave)
        try:
            run = pipe.recv()
        except EOFError:
            return
        paths = run if isinstance(run, tuple) else (run,)
        if quiet:
            with (paths[0] / "output.log").open("a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
        status = train(*paths)
        try:
            pipe.send(status)
        except OSError:  # the parent is gone
            return


def _follow_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
