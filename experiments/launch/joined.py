"""Ranks that something else started: `torchrun`, or `srun`.

Rank 0 composes the configuration and creates the run directory; the others wait for its path, or for the news that
there is none. Only rank 0 prints.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any

from experiments.launch import local
from experiments.launch.opening import open_run
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE, USER_ERROR
from experiments.record.run_directory import RunDirectory
from experiments.schema.errors import UserError

HIGHEST_PORT = 65_535
SECONDS_OF_SILENCE = 60


def is_rank() -> bool:
    """Whether this process is one of several ranks; `srun`'s description of them is put in torch's terms.

    Raises UserError where the variables that say so are there by half, or make no sense.
    """
    environment = os.environ
    if "RANK" not in environment and "SLURM_STEP_ID" in environment:
        environment.update(slurm_ranks(environment))
    check_ranks(environment)
    return int(environment.get("WORLD_SIZE", "1")) > 1


def check_ranks(environment: Mapping[str, str]) -> None:
    """Raise UserError unless the variables of ranks are all there, or none that matters."""
    way_out = (
        "unset RANK, WORLD_SIZE and LOCAL_RANK to train without ranks, or let torchrun, srun or launch.devices=N set "
        "all of them"
    )
    world_size = _number(environment, "WORLD_SIZE", 1, way_out)
    rank = _number(environment, "RANK", 0, way_out)
    _number(environment, "LOCAL_RANK", 0, way_out)
    if world_size is None and rank is not None:
        raise UserError(f"RANK={rank} is set in the environment, but WORLD_SIZE is not: {way_out}")
    if world_size is None or (world_size == 1 and not rank):
        return
    if rank is None:
        raise UserError(f"WORLD_SIZE={world_size} is set in the environment, but RANK is not: {way_out}")
    if rank >= world_size:
        raise UserError(
            f"RANK={rank} in the environment is none of WORLD_SIZE={world_size} ranks, which count from 0: {way_out}"
        )
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if not environment.get(name):
            raise UserError(f"RANK={rank} is set in the environment, but {name} is not: {way_out}")
    port = _number(environment, "MASTER_PORT", 1, way_out)
    if port is not None and port > HIGHEST_PORT:
        raise UserError(f"MASTER_PORT={port} in the environment is no port: at most {HIGHEST_PORT}; {way_out}")


def _number(environment: Mapping[str, str], name: str, least: int, way_out: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise UserError(f"{name}={text!r} in the environment is not a number of at least {least}: {way_out}")
    return int(text)


def slurm_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of a task that `srun` started. Raises UserError where
    what `srun` sets is there by half."""
    step = f"SLURM_STEP_ID={environment['SLURM_STEP_ID']} is set in the environment"
    way_out = "start run.py with srun, or unset SLURM_STEP_ID to train without ranks"
    if "SLURM_PROCID" not in environment:
        raise UserError(f"{step}, but SLURM_PROCID is not: {way_out}")
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_JOB_ID"):
        _number(environment, name, 0, way_out)
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or "localhost"
    first = re.match(r"([^\[,]+)(?:\[(\w+))?", nodes)
    if first is None:
        raise UserError(f"{step}, but {nodes!r} is no list of nodes: {way_out}")
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": environment.get("MASTER_ADDR", first[1] + (first[2] or "")),
        "MASTER_PORT": environment.get("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 10000)),
    }


def run(arguments: list[str]) -> int:
    """Be this rank of the run that `arguments` ask for; return its exit status.

    Raises UserError in rank 0, for a mistake of the user; the other ranks then return 2.
    """
    if int(os.environ["RANK"]) != 0:
        return _follow()
    directory: RunDirectory | None = None
    status: int = DONE
    error: BaseException | None = None
    try:
        directory = _prepare(arguments)
    except UserError as mistake:
        status, error = USER_ERROR, mistake
    except BaseException as failure:
        status, error = FAILED, failure
    _tell({"path": str(directory.path) if directory else None, "status": status})
    if error is not None:
        raise error
    if directory is None:
        return DONE
    status = _train(directory)
    if status == DONE:
        local.report(directory)
    elif directory.status() == "diverged":
        local.copy_record(directory)
    return status


def _tell(message: dict[str, Any]) -> None:
    """Give the other ranks `message`, and wait until all have it: the store may end with this process."""
    store, key = _store(), _key()
    store.set(key, json.dumps(message))
    store.wait([f"{key}/heard/{rank}" for rank in range(1, int(os.environ["WORLD_SIZE"]))])


def _follow() -> int:
    store, key = _store(), _key()
    message = json.loads(store.get(key))
    store.set(f"{key}/heard/{os.environ['RANK']}", "")
    if message["path"] is None:
        return message["status"]
    return _train(RunDirectory(message["path"]))


def _prepare(arguments: list[str]) -> RunDirectory | None:
    """The directory of the one run to train, or None where nothing is to be trained."""
    from experiments.launch.configurations import configurations
    from experiments.launch.dispatch import dispatch, require_data
    from experiments.schema.compose import expand
    from experiments.schema.overrides import parse

    ranks, points = int(os.environ["WORLD_SIZE"]), parse(arguments)
    for point in points:
        point.values.setdefault("launch.devices", ranks)
    configs = configurations(expand(points))
    if configs[0].launch.name == "plan":
        dispatch(configs)
        return None
    if len(configs) > 1:
        raise UserError(
            f"{len(configs)} runs (command line) for {ranks} ranks: one at a time here; start run.py without torchrun "
            f"and give launch.devices={ranks}"
        )
    [config] = configs
    if config.launch.devices != ranks:
        raise UserError(
            f"launch.devices={config.launch.devices} (command line): WORLD_SIZE says {ranks}; did you mean {ranks}?"
        )
    require_data(configs)
    local.require_room_for_records([config])
    directory = open_run(config)
    if local.is_done(directory, config):
        local.report(directory)
        return None
    local.require_room_for_records()
    print(f"{local.title(config)}\nrun: {directory.path}", flush=True)
    return directory


def _train(directory: RunDirectory) -> int:
    from experiments.launch import worker

    with local.graceful_signals() as stop:
        status = worker.run(directory.path)
    return INTERRUPTED if status == REQUEUE and stop.by_keyboard else status


def _store():
    """The key-value store that all ranks reach, at MASTER_ADDR and MASTER_PORT. Says whom it waits for where that takes
    long; raises UserError where they do not come."""
    from torch.distributed import DistError
    from torch.distributed.rendezvous import rendezvous

    rank, world_size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    waits = (
        f"rank {rank} of {world_size} waits at {place} for the others, as RANK, WORLD_SIZE, MASTER_ADDR and "
        "MASTER_PORT in the environment say; unset them to train without ranks"
    )
    timer = threading.Timer(SECONDS_OF_SILENCE, print, [waits], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        store, _, _ = next(iter(rendezvous("env://")))
    except (DistError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"rank {rank} of {world_size} found no other rank at {place}: {reason}") from error
    finally:
        timer.cancel()
    return store


def _key() -> str:
    return f"run/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
