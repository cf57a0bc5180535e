"""Signals that reach every process of a run, as Slurm and torch elastic send them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.schema import paths

RUN = ["exp=vit_small", "data=digits", "data.workers=2", "launch.threads=1"]


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.02)


def test_two_sigterms_to_all_processes_end_in_a_checkpoint(environment, tmp_path):
    command = [sys.executable, str(paths.ROOT / "run.py"), *RUN]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: list((tmp_path / "runs").glob("*/checkpoints/update-*.pt")), process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(0.05)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 75, errors
    assert "DataLoader worker" not in errors, "no worker was lost"


@pytest.mark.slow
def test_ranks_whose_parent_is_killed_leave_and_the_same_command_goes_on(environment, door, tmp_path):
    arguments = ["exp=vit_small", "data=digits", "batch_size=16384", "launch.devices=2", "stop_at=2"]
    command = [sys.executable, str(paths.ROOT / "run.py"), *arguments[:-1]]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: list((tmp_path / "runs").glob("*/checkpoints/update-*.pt")), process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    answer = door(*arguments)
    while "held by" in answer.stderr and time.monotonic() < deadline:
        answer = door(*arguments)
    assert answer.returncode == 0, answer.stderr
