"""One rank of one run: `python -m experiments.launch.worker RUN_DIR`, or `run(path)` in process.

Of several run directories, which differ in their seed, it trains the runs as one batch.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import sys
from pathlib import Path

import torch

from experiments import tasks
from experiments.launch import surroundings
from experiments.launch.status import DONE, FAILED, REQUEUE, USER_ERROR
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.errors import DataError, UserError
from experiments.schema.task_info import info
from experiments.training import capture, parallel
from experiments.training.divergence import NonFiniteLoss
from experiments.training.loop import Outcome, train
from experiments.training.task import Part

# Models of the mini scale and of PPO are so small that a second thread costs more than it brings: 16.9 against 18.8 ms
# an update of mini ViT-S.
THREADS_OF_SMALL_MODELS = 1

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How torch says, wherever the run is at that moment, that a process that reads data is gone.
LOST_READER = re.compile(r"DataLoader worker \(pid.*")
# How gloo and NCCL say that the other end is gone.
LOST_RANK = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|Broken pipe", re.IGNORECASE)
SOURCE_LINE = re.compile(r"^\[\S+:\d+\] ")


def run(*paths: Path) -> int:
    """Train the run of a directory as the rank that the environment says (0 of 1 by default), or the runs of several.

    Returns the exit status: 0 done, 1 failed, 2 a user's mistake, 75 interrupted and worth running again.
    """
    try:
        outcome = _train([RunDirectory(path) for path in paths])
    except (UserError, NonFiniteLoss) as error:
        if isinstance(error, DataError) or int(os.environ.get("RANK", "0")) == 0:
            print(f"error: {error}", file=sys.stderr)
        return USER_ERROR if isinstance(error, UserError) else FAILED
    except (OSError, RuntimeError) as error:
        sentence = _accident(error)
        if not sentence:
            raise
        print(f"error: {sentence}; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
        return FAILED
    return {"interrupted": REQUEUE, "diverged": FAILED}.get(outcome.status, DONE)


def _train(directories: list[RunDirectory]) -> Outcome:
    configs = [directory.config() for directory in directories]
    config = configs[0]
    if config.launch.threads or config.scale == "mini" or info(config.task).single_thread:
        torch.set_num_threads(config.launch.threads or THREADS_OF_SMALL_MODELS)
    device = parallel.choose_device(config.launch.device, int(os.environ.get("LOCAL_RANK", "0")))
    with parallel.process_group(device) as (rank, world_size):
        capture.require(config, device, world_size, len(configs))
        part = Part(rank, world_size, micro_batch(config, world_size), device)
        task = tasks.build(config, part, [each.seed for each in configs])
        return train(list(zip(configs, directories, strict=True)), task, part)


def _accident(error: Exception) -> str:
    """Say what befell the run, where nothing in the run is at fault; empty for all else."""
    if lost := LOST_READER.match(str(error)):
        return f"a process that reads data was killed, for want of memory? ({lost[0].rstrip('. ')})"
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return f"{error.filename or 'a file of the run'} could not be written: {error.strerror}"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and LOST_RANK.search(str(error)):
        reason = SOURCE_LINE.sub("", str(error).strip()).partition("\n")[0].partition(". ")[0]
        return f"rank {os.environ['RANK']} lost another rank, which ended or was killed ({reason})"
    return ""


def _follow_the_agent() -> None:
    """Under torch elastic: when the agent dies (killed, out of memory), receive SIGTERM, checkpoint and leave.

    Otherwise the ranks would go on alone and hold the run. Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere
    nothing happens.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    surroundings.settle()
    _follow_the_agent()
    sys.exit(run(*map(Path, sys.argv[1:])))
