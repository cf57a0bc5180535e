"""The fair comparison by its command, end to end: trials, the choice, fresh seeds; taken up where it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.schema import paths

COMMAND = [
    *(sys.executable, str(paths.ROOT / "run.py"), "tune=equal", "exp=resnet18", "optim=adan,sgd", "data=digits"),
    *("schedule.epochs=2", "schedule.milestones=[1]", "launch.jobs=2"),
]


@pytest.mark.slow
def test_trials_choose_and_fresh_seeds_follow_also_after_a_kill(tmp_path):
    environment = {**os.environ, "ADAN_RUNS": str(tmp_path / "runs"), "ADAN_RESULTS": str(tmp_path / "results")}
    first = subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while len(list((tmp_path / "results" / "records").glob("*"))) < 3:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    assert first.returncode == 75
    second = subprocess.run(COMMAND, env=environment, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "Equal tuning: 16 trials, then 20 runs on fresh seeds" in second.stdout
    assert second.stdout.count("done before") >= 3
    assert "resnet18 adan: optim.lr=" in second.stdout and "resnet18 sgd: optim.lr=" in second.stdout
    records = [path.name for path in (tmp_path / "results" / "records").glob("*")]
    assert len(records) == 36
    assert sum(name.endswith("seed100") for name in records) == 16
    assert {name.rpartition("seed")[2] for name in records} == {"100", "200", "201", "202", "203", "204"}
    third = subprocess.run(COMMAND, env=environment, capture_output=True, text=True)
    assert third.returncode == 0 and third.stdout.count("done before") == 36 + 36  # each said, and in the summary
