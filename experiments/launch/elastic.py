"""One run as several ranks on this machine, under torch elastic."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from experiments.launch.status import DONE, FAILED, REQUEUE, USER_ERROR
from experiments.launch.threads import share_cores
from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.training.interruption import heard

SECONDS_TO_CHECKPOINT = 300


def run(path: Path, devices: int) -> int:
    """Start `devices` workers on the run directory `path` and wait for them; return the run's exit status.

    A signal is passed on to the workers, which checkpoint and leave with 75; so does this function. Workers are
    never restarted here: the same command again resumes the run.
    """
    share_cores(devices)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(paths.ROOT), os.environ.get("PYTHONPATH")]))
    _quiet()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=path.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        signals_to_handle=",".join(number.name for number in (*heard(), signal.SIGQUIT)),
        **_patience(),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "experiments.launch.worker", str(path))
    except SignalException:  # it may have come when the workers had done all they had to do
        return DONE if RunDirectory(path).status() == "finished" else REQUEUE
    except ChildFailedError as error:
        return _status([failure.exitcode for failure in error.failures.values()])
    return DONE


def _patience() -> dict[str, Any]:
    """Time for ranks to checkpoint after a signal. torch 2.11 has no such setting: 30 seconds there."""
    known = {field.name for field in dataclasses.fields(LaunchConfig)}
    return {"shutdown_timeout": SECONDS_TO_CHECKPOINT} if "shutdown_timeout" in known else {}


def _quiet() -> None:
    """Workers say themselves what went wrong; elastic would wrap that, and every 75, in reports of its own."""
    for name in ("torch.distributed.elastic", "torch.distributed.launcher"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


def _status(codes: list[int]) -> int:
    """The run's status from those of its failed ranks: what a rank says itself goes before a death by signal. SIGTERM
    and 75 are often only how elastic ended the others."""
    for status in (USER_ERROR, FAILED):
        if status in codes:
            return status
    others = [code for code in codes if code not in (-signal.SIGTERM, DONE, REQUEUE)]
    if not others:
        return REQUEUE
    killed = ", ".join(sorted({signal.Signals(-code).name if code < 0 else f"status {code}" for code in others}))
    again = "the same command goes on from the last checkpoint"
    print(f"error: ranks were killed ({killed}), for want of memory? {again}", file=sys.stderr)
    return FAILED
