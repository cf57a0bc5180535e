"""Real gloo processes that stay for a module's tests and run functions of other modules together."""

import multiprocessing
import traceback
from datetime import timedelta
from importlib import import_module
from pathlib import Path

SECONDS = 90  # after which a rank counts as hanging

_context = multiprocessing.get_context("spawn")


class Ranks:
    """`count` processes of one group. A context manager; `folder` is where they find each other."""

    def __init__(self, count: int, folder: Path) -> None:
        self._count, self._folder = count, folder

    def __enter__(self) -> "Ranks":
        self._pipes, self._processes = [], []
        for rank in range(self._count):
            here, there = _context.Pipe()
            process = _context.Process(target=_serve, args=(there, rank, self._count, self._folder / "store"))
            process.start()
            self._pipes.append(here)
            self._processes.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def run(self, module: str, function: str, **arguments: object) -> None:
        """Call a function on every rank. AssertionError with the tracebacks of those where it raised or hung."""
        for pipe in self._pipes:
            pipe.send((module, function, arguments))
        failures = {}
        for rank, pipe in enumerate(self._pipes):
            failure = pipe.recv() if pipe.poll(SECONDS) else f"no answer after {SECONDS} s"
            if failure:
                failures[rank] = failure
        if any("no answer" in failure or "Timed out" in failure for failure in failures.values()):
            # Collectives are out of step from here on.
            self.__exit__()
            self._folder = self._folder / "again"
            self._folder.mkdir()
            self.__enter__()
        assert not failures, "\n".join(f"rank {rank}: {failure}" for rank, failure in failures.items())


def _serve(pipe, rank: int, count: int, store: Path) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    timeout = timedelta(seconds=30)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count, timeout=timeout)
    while True:
        try:
            module, function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            getattr(import_module(module), function)(**arguments)
            pipe.send(None)
        except Exception:
            pipe.send(traceback.format_exc())
