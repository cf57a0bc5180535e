"""The journey of a run through real processes: trained, sealed, verified, found again, tabulated."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from experiments.schema import paths

BRIEF = ["data=digits", "batch_size=16384", "schedule.epochs=2", "schedule.warmup_epochs=1", "launch.threads=1"]


def record_at_the_end_of(answer: subprocess.CompletedProcess[str]) -> Path:
    assert answer.returncode == 0, answer.stderr
    last = answer.stdout.splitlines()[-1]
    assert last.startswith("record: ")
    return Path(last.removeprefix("record: "))


def test_from_the_command_to_the_table(door, script, tmp_path):
    first = door("exp=vit_small", "optim=adan", *BRIEF)
    record = record_at_the_end_of(first)
    sealed = record.read_bytes()
    assert json.loads(sealed)["status"] == "finished"
    assert "not comparable with the paper (mini scale)" in first.stdout
    assert "the only optimizer run at this setting so far" in first.stdout

    again = door("exp=vit_small", "optim=adan", *BRIEF)
    assert record_at_the_end_of(again) == record
    assert "epoch 1/" not in again.stdout, "a finished run is not run again"
    assert record.read_bytes() == sealed

    attempt = record_at_the_end_of(door("exp=vit_small", "optim=adan", *BRIEF, "force=true"))
    assert attempt.parent.name == f"{record.parent.name}-attempt2"
    assert record.read_bytes() == sealed
    one, other = json.loads(sealed), json.loads(attempt.read_text())
    assert one["parameters_digest"] == other["parameters_digest"], "the same seed gives the same run"
    assert one["events"] == other["events"]

    rival = door("exp=vit_small", "optim=lamb", *BRIEF)
    assert "of 2 at this setting" in rival.stdout

    published = tmp_path / "results" / "records"
    assert sorted(folder.name for folder in published.iterdir()) == sorted(
        folder.parent.name for folder in (tmp_path / "runs").glob("*/record.json")
    )
    assert script("verify.py").returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(published / record.parent.name, copy)
    assert script("verify.py", str(copy)).returncode == 0
    events = (copy / "events.jsonl").read_text()
    top1 = json.loads(events.splitlines()[-2])["top1"]
    (copy / "events.jsonl").write_text(events.replace(f'"top1":{top1}', '"top1":99.0'))
    tampered = script("verify.py", str(copy))
    assert tampered.returncode == 1
    assert "evaluation at update 33" in tampered.stdout + tampered.stderr


def test_a_table_runs_its_cells_and_is_written(door, script, tmp_path):
    cells = ["table=t4", "exp=swin_tiny", "epochs=150", "data=digits", "schedule.epochs=1", "schedule.warmup_epochs=0"]
    first = door(*cells)
    assert first.returncode == 0, first.stderr
    assert "[2/2] swin_tiny adan" in first.stdout
    assert first.stdout.count("record: ") == 2
    again = door(*cells)
    assert again.stdout.count("done before") >= 2
    written = script("make_tables.py", "t4")
    assert written.returncode == 0, written.stderr
    text = (tmp_path / "results" / "tables" / "t4.md").read_text()
    assert "81.3" in text, "the reported number of the cell stands in the table"
    assert "not run" in text


def test_a_run_killed_with_sigkill_is_resumed_by_the_same_command(door, environment, tmp_path):
    command = [sys.executable, str(paths.ROOT / "run.py"), "exp=vit_small", *BRIEF]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    while not list((tmp_path / "runs").glob("*/checkpoints/update-*.pt")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    record = json.loads(record_at_the_end_of(door("exp=vit_small", *BRIEF)).read_text())
    assert (record["status"], record["restarts"]) == ("finished", 1)


def test_a_second_process_that_wants_the_same_run_says_who_holds_it(door, environment, tmp_path):
    command = [sys.executable, str(paths.ROOT / "run.py"), "exp=vit_small"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not list((tmp_path / "runs").glob("*/events.jsonl")) and process.poll() is None:
            time.sleep(0.02)
        second = door("exp=vit_small")
    finally:
        process.kill()
        process.wait()
    assert second.returncode == 2
    assert f"held by process {process.pid}" in second.stderr
    assert "Traceback" not in second.stderr


def test_on_a_terminal_a_bar_shows_how_far_the_run_is(environment, tmp_path):
    command = [sys.executable, str(paths.ROOT / "run.py"), "exp=vit_small", *BRIEF]
    main, terminal = pty.openpty()
    child_environment = environment | {"TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(command, cwd=tmp_path, env=child_environment, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # the terminal closes with its last process
            break
        if not chunk:
            break
        shown += chunk
    os.close(main)
    assert process.wait() == 0
    text = shown.decode(errors="replace")
    assert "/33" in text
    assert "samples/s" in text
    assert "record: " in text.splitlines()[-1] or "record: " in text[-400:]
