"""Ranks that something else started: `torchrun`, or `srun`.

Rank 0 composes the configuration and creates the run directory; the others wait for its path, or for the news that
there is none. Only rank 0 prints.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

from experiments.launch import local
from experiments.launch.status import DONE, FAILED, INTERRUPTED, REQUEUE, USER_ERROR
from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError


def is_rank() -> bool:
    """Whether this process is one of several ranks; `srun`'s description of them is put in torch's terms."""
    environment = os.environ
    if "RANK" not in environment and "SLURM_STEP_ID" in environment:
        environment.update(slurm_ranks(environment))
    return int(environment.get("WORLD_SIZE", "1")) > 1 and "RANK" in environment


def slurm_ranks(environment: Any) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of a task that `srun` started."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "localhost")
    first = re.match(r"([^\[,]+)(?:\[(\w+))?", nodes)
    assert first is not None
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": environment.get("MASTER_ADDR", first[1] + (first[2] or "")),
        "MASTER_PORT": environment.get("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", "0")) % 10000)),
    }


def run(arguments: list[str], configurations: Callable[[list[str]], list[RunConfig]]) -> int:
    """Be this rank of the run that `arguments` ask for; return its exit status.

    Raises UserError in rank 0, for a mistake of the user; the other ranks then return 2.
    """
    if int(os.environ["RANK"]) != 0:
        return _follow()
    directory: RunDirectory | None = None
    status: int = DONE
    error: BaseException | None = None
    try:
        directory = _prepare(arguments, configurations)
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


def _prepare(arguments: list[str], configurations: Callable[[list[str]], list[RunConfig]]) -> RunDirectory | None:
    """The directory of the one run to train, or None where nothing is to be trained."""
    from experiments.launch.dispatch import dispatch, require_data

    ranks = int(os.environ["WORLD_SIZE"])
    if not any(argument.startswith("launch.devices=") for argument in arguments):
        arguments = [*arguments, f"launch.devices={ranks}"]
    configs = configurations(arguments)
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
    directory = RunDirectory.open_or_create(paths.RUNS, config)
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
    """The key-value store that all ranks reach, at MASTER_ADDR and MASTER_PORT."""
    from torch.distributed.rendezvous import rendezvous

    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UserError(f"RANK={os.environ['RANK']} is set in the environment, but {' and '.join(missing)} is not")
    store, _, _ = next(iter(rendezvous("env://")))
    return store


def _key() -> str:
    return f"run/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
