"""Updates of the loop under a stopwatch: `training.loop` itself, on a real configuration, as bench_gpu.py times it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import checkout  # noqa: F401
import torch

from experiments import tasks
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.training import capture
from experiments.training.evaluation import evaluate
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

# Nothing but updates happens in between: what an evaluation costs is measured apart.
UPDATES_ALONE = ("evaluation.every=1000000", "checkpoint.every=1000000")


class Interrupted(Exception):
    """SIGTERM came: what was being measured is no measurement."""


class TimedRun:
    """A run some of whose updates, or evaluations, are performed at a time."""

    def __init__(self, run: Run, device: torch.device) -> None:
        self.run, self.device = run, device

    def perform(self, updates: int) -> float:
        """Seconds that the next updates take. Raises Interrupted."""
        until = self.run.update + updates
        return self._time(lambda: self._perform(until))

    def evaluate(self) -> float:
        """Seconds that an evaluation takes."""
        run = self.run
        trained = [player.optimizer for player in run.players.values()]
        return self._time(lambda: evaluate(run.config, run.task, trained, run.ema, run.part))

    def _perform(self, until: int) -> None:
        with Interruption() as interruption:
            if not self.run.perform(interruption, until=until) or interruption.requested:
                raise Interrupted

    def _time(self, do: Callable[[], object]) -> float:
        wait(self.device)
        begin = time.perf_counter()
        do()
        wait(self.device)
        return time.perf_counter() - begin


@contextmanager
def begun(overrides: list[str], device: torch.device, folder: Path) -> Iterator[TimedRun]:
    """A run of its own in `folder`, none of whose updates are performed yet. Raises UserError where it cannot be."""
    (config,) = compose([*overrides, *UPDATES_ALONE])
    check(config)
    capture.require(config, device, world_size=1, runs=1)
    part = Part(micro_batch=micro_batch(config, 1), device=device)
    directory = RunDirectory.open_or_create(Path(mkdtemp(dir=folder)), config)
    with directory.hold():
        run = Run([(config, directory)], tasks.build(config, part), part)
        try:
            run.resume()
            yield TimedRun(run, device)
        finally:
            run.journal.close()


def interleaved(
    contenders: dict[str, Callable[[int], float]], warm_up: int, segments: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds an update of each contender, a function from a number of updates to the seconds that they take: one
    number a segment, the contenders in turn. A segment has as many updates as the slowest does in `seconds`, 2 to
    200."""
    paces = []
    for perform in contenders.values():
        perform(warm_up)
        paces.append(perform(2) / 2)
    size = min(200, max(2, round(seconds / max(paces))))
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    for segment in range(segments):
        turn = segment % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(contenders[name](size) / size)
    return times


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
