"""Measure what the loop costs: `python scripts/bench_loop.py [--repeats 9] [--updates 150] [OVERRIDE...]`.

Two ways over the same batches of the same run, interleaved in one process: `training.loop` (checks, events,
progress, schedule, optimizer) and a bare `forward, backward, step`. Prints the median ratio of their times and its
spread; evaluation and checkpoints are outside both. Overrides are those of run.py (default: exp=vit_small optim=adan).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import checkout  # noqa: F401
import torch

from experiments import optimizers, tasks
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.compose import compose
from experiments.schema.epochs import of_run
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="interleaved pairs")
    parser.add_argument("--updates", type=int, default=150, help="updates per side and repeat, within an epoch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*", default=["exp=vit_small", "optim=adan"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    (config,) = compose(arguments.overrides)
    part = Part(micro_batch=micro_batch(config, 1))

    ratios, loop_times, bare_times = [], [], []
    for repeat in range(-1, arguments.repeats):  # the first pair warms up
        pair = [lambda: time_loop(config, part, arguments.updates), lambda: time_bare(config, part, arguments.updates)]
        if repeat % 2:
            bare, loop = pair[1](), pair[0]()
        else:
            loop, bare = pair[0](), pair[1]()
        if repeat >= 0:
            ratios.append(loop / bare)
            loop_times.append(loop)
            bare_times.append(bare)
    quartiles = statistics.quantiles(ratios, n=4)
    setting = f"torch {torch.__version__}, {platform.machine()}, {arguments.threads} thread(s)"
    print(f"{setting}, {' '.join(arguments.overrides)}")
    print(f"loop  {1e3 * statistics.median(loop_times) / arguments.updates:.3f} ms an update")
    print(f"bare  {1e3 * statistics.median(bare_times) / arguments.updates:.3f} ms an update")
    spread = f"quartiles {quartiles[0]:.4f} to {quartiles[2]:.4f}, n={len(ratios)}"
    print(f"ratio {statistics.median(ratios):.4f} ({spread})")


def time_loop(config, part: Part, updates: int) -> float:
    """Seconds that the real loop takes for `updates` updates, all within the first epoch."""
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.open_or_create(Path(folder), config)
        task = tasks.build(config, part)
        if updates >= (most := of_run(config).updates[0]):
            raise SystemExit(f"--updates must be under {most}, the updates of one epoch")
        with directory.hold(), Interruption() as interruption:
            run = Run([(config, directory)], task, part)
            run.resume()
            run.stop = updates + 1
            run.perform(interruption, until=1)
            begin = time.perf_counter()
            run.perform(interruption, until=updates + 1)
            return time.perf_counter() - begin


def time_bare(config, part: Part, updates: int) -> float:
    """Seconds of forward, backward and step over the same batches, with nothing around them."""
    task = tasks.build(config, part)
    module = task.module.train()
    optimizer = optimizers.build(config.optim, module)
    seconds = 0.0
    for update in range(1, updates + 2):
        begin = time.perf_counter()
        for batch in task.micro_batches(update):
            optimizer.zero_grad(set_to_none=True)
            (task.loss(module, batch).sum / task.count(update)).backward()
            optimizer.step()
        if update > 1:
            seconds += time.perf_counter() - begin
    return seconds


if __name__ == "__main__":
    main()
