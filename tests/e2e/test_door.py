"""`run.py` as a user meets it: help, mistakes, plans, stopping and going on, through real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.schema import paths
from experiments.schema.names import choices

BRIEF = ["exp=vit_small", "optim=adan", "epochs=150"]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_experiments_optimizers_tables_and_keys(door, arguments):
    answer = door(*arguments)
    assert answer.returncode == 0
    for group in ("exp", "optim", "table", "scale", "launch", "track", "data"):
        for name in choices(group):
            assert name in answer.stdout
    for key in ("batch_size", "epochs", "recipe", "seed", "stop_at", "force", "launch.lr_at"):
        assert key in answer.stdout


def test_optimizer_facts(door):
    answer = door("--optimizers")
    assert answer.returncode == 0
    assert all(name in answer.stdout for name in choices("optim"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exp=vit_smal"], "exp=vit_smal (command line): no such experiment; did you mean 'vit_small'?"),
        (["exp=vit_small", "lr=0.1"], "lr (command line): no such key; did you mean 'optim.lr'?"),
        (["exp=vit_small", "optim.lr=high"], "optim.lr=high (command line): expected a number"),
        (["exp=vit_small", "precision=fp17"], "precision=fp17 (command line): no such value; did you mean"),
        (["exp=vit_small", "launch.micro_batch=3"], "launch.micro_batch=3 (command line): does not divide"),
        (["exp=vit_small", "launch.micro_batch=1"], "launch.micro_batch=1 (command line): odd"),
        (["exp=vit_small", "scale=paper"], "scale=mini brings its own"),
        (["exp=vit_small", "data=cifar10"], "data.root=FOLDER"),
        (["exp=vit_small", "scale=paper", "data.root=/nowhere/at/all"], "/nowhere/at/all"),
        (["table=t4", "scale=paper"], "data.root="),
        (["table=f2", "parent=no_such_run"], "parent=no_such_run (command line): ppo_halfcheetah begins with random"),
    ],
)
def test_a_mistake_ends_with_2_and_one_message(door, tmp_path, arguments, message):
    answer = door(*arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert ("brings its own" in answer.stderr) == ("scale=paper" in arguments)
    assert answer.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_revision_that_cannot_be_the_codes_is_refused_before_any_run(door, environment, tmp_path):
    environment["ADAN_REVISION"] = "v1.0"
    answer = door("exp=vit_small", "data=digits", "stop_at=1updates")
    assert answer.returncode == 2
    assert "ADAN_REVISION=v1.0 (environment): no revision" in answer.stderr
    assert (answer.stdout, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["launch.devices=3"],
        ["batch_size=128", "launch=plan"],
        ["optim=sam", "optim.base=foo"],
        ["augmentation.auto_augment=foo"],
    ],
)
def test_a_mistake_is_answered_without_torch(environment, tmp_path, arguments):
    script = f"import sys, run; print(run.main(['exp=vit_small', *{arguments}]), 'torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout == "2 False\n", answer.stderr


def test_a_json_plan_is_all_there_is_on_standard_output(door, tmp_path):
    answer = door("exp=vit_small", "scale=paper", "launch=plan", "launch.format=json", "launch.lr_at=[1]")
    assert answer.returncode == 0, answer.stderr
    tree = json.loads(answer.stdout)
    assert tree["n_parameters"] == 22_050_664
    assert list(tree["lr_at"]) == ["1"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("form", [pytest.param("text", marks=pytest.mark.slow), "json"])
def test_a_reader_of_a_plan_may_leave(environment, tmp_path, form):
    command = [sys.executable, str(paths.ROOT / "run.py"), "exp=vit_small", "launch=plan", f"launch.format={form}"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        answer = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(writing)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_run_stops_at_a_point_and_is_not_run_again(door, tmp_path):
    first = door(*BRIEF, "stop_at=3updates")
    assert first.returncode == 0, first.stderr
    [record] = (tmp_path / "runs").glob("*/record.json")
    assert first.stdout.splitlines()[-1] == f"record: {record}"
    sealed = record.read_bytes()
    assert json.loads(sealed)["progress"]["update"] == 3
    again = door(*BRIEF, "stop_at=3updates")
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] == f"record: {record}"
    assert record.read_bytes() == sealed


@pytest.mark.parametrize(
    ("number", "extra", "status"),
    [
        pytest.param(signal.SIGTERM, [], 75, marks=pytest.mark.slow),  # also in training/test_resume
        (signal.SIGINT, [], 130),
        (signal.SIGTERM, ["launch.devices=2"], 75),
        (signal.SIGTERM, ["-m", "seed=1,2"], 75),
    ],
)
def test_a_signal_checkpoints_and_leaves(environment, tmp_path, number, extra, status):
    command = [sys.executable, str(paths.ROOT / "run.py"), *BRIEF, *extra]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        while not list((tmp_path / "runs").glob("*/events.jsonl")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        output = process.communicate(timeout=120)[0]
    finally:
        process.kill()
    assert process.returncode == status, output
    assert "Traceback" not in output
    [directory] = (tmp_path / "runs").glob("*seed*")
    assert any((directory / "checkpoints").iterdir())
    assert not (directory / "record.json").exists()


def test_a_sweep_goes_on_past_a_failed_run_and_ends_with_a_summary(door, tmp_path):
    answer = door(*BRIEF, "-m", "optim.lr=1.0e+30,0.005", "schedule.warmup_epochs=0", "stop_at=10updates")
    assert answer.returncode == 1
    records = {json.loads(path.read_text())["status"]: path for path in (tmp_path / "runs").glob("*/record.json")}
    assert set(records) == {"diverged", "partial"}
    assert f"record: {records['partial']}" in answer.stdout
    summary = answer.stdout[answer.stdout.index("2 runs") :]
    assert "ended by a non-finite loss" in summary
    assert "done" in summary
