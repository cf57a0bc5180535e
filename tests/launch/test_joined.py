"""Ranks that something else started, as real processes that meet at a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.launch.joined import slurm_ranks
from experiments.schema import paths


def start_ranks(count: int, arguments: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run `run.py` as `count` ranks, the way `srun` with RANK exported would; results in order of ranks."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(paths.ROOT / "run.py"), *arguments]
    environment = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            command,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    ended = []
    try:
        for process in started:
            out, error = process.communicate(timeout=120)
            ended.append(subprocess.CompletedProcess(command, process.returncode, out, error))
    finally:
        for process in started:
            process.kill()
    return ended


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exp=vit_smal"], "did you mean 'vit_small'"),
        (["exp=vit_small", "-m", "seed=0,1"], "one at a time"),
        (["exp=vit_small", "launch.devices=4"], "did you mean 2"),
    ],
)
def test_a_mistake_ends_all_ranks_and_only_the_first_speaks(arguments, message):
    first, second = start_ranks(2, arguments)
    assert (first.returncode, second.returncode) == (2, 2)
    assert message in first.stderr
    assert "Traceback" not in first.stderr
    assert (second.stdout, second.stderr) == ("", "")


def test_ranks_share_one_run_directory_and_its_record(folders: Path):
    arguments = ["exp=vit_small", "epochs=150", "stop_at=2updates"]
    for _again in range(2):
        first, second = start_ranks(2, arguments)
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        [record] = (folders / "runs").glob("*/record.json")
        assert first.stdout.splitlines()[-1] == f"record: {record}"
        assert second.stdout == ""


def test_the_ranks_of_srun():
    environment = {
        "SLURM_JOB_ID": "123456",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_NODELIST": "gpu[03-05,07],cpu1",
    }
    assert slurm_ranks(environment) == {
        "RANK": "3",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "23456",
    }
    assert slurm_ranks(environment | {"SLURM_STEP_NODELIST": "node7"})["MASTER_ADDR"] == "node7"
    assert slurm_ranks(environment | {"MASTER_ADDR": "head"})["MASTER_ADDR"] == "head"
