"""A kind of task from another package: the documented example itself, as an installed package."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import tomllib
from pathlib import Path

import pytest

from experiments import tasks
from experiments.schema import paths

BLOCKS = [
    textwrap.dedent(block).strip() + "\n" for block in re.findall(r"(?:^    .*\n|^\n)+", tasks.__doc__, re.MULTILINE)
]
CODE, FILES, ANNOUNCEMENT = (next(block for block in BLOCKS if word in block) for word in ("Loss", "title:", "project"))
DATA, EXPERIMENT = FILES.split("\n\n")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The example as a user would save it, and what installing it makes of the lines of its `pyproject.toml`."""
    (tmp_path / "my_package.py").write_text(CODE)
    for name, text in (("data/points", DATA), ("exp/line", EXPERIMENT)):
        file = tmp_path / "configs" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    groups = tomllib.loads(ANNOUNCEMENT)["project"]["entry-points"]
    points = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in groups.items())
    (about / "entry_points.txt").write_text(points)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{paths.ROOT}", "OMP_NUM_THREADS": "1"}
    environment |= {"ADAN_RUNS": str(folder / "runs"), "ADAN_RESULTS": str(folder / "results"), "COLUMNS": "120"}
    command = [sys.executable, str(paths.ROOT / "run.py"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def answer(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    printed, errors = process.communicate(timeout=240)
    return process.returncode, printed, errors


def test_it_trains_resumes_seals_and_gets_a_verdict_by_the_documented_command(package):
    [command] = re.findall(r"`python (run\.py [^`]*)`", tasks.__doc__)
    arguments = command.split()[1:]
    status, printed, errors = answer(package, *arguments)
    assert status == 0, errors
    assert "verdict: not comparable with the paper (mini scale)" in printed
    [record] = (package / "results" / "records").glob("*/record.json")
    straight = json.loads(record.read_text())
    assert straight["status"] == "finished" and straight["summary"]["distance"]["last"] < 0.5


def test_killed_and_resumed_it_ends_like_a_run_that_was_left_alone(package):
    arguments = ["exp=line", "optim=adam", "schedule.epochs=300"]
    killed = start(package, *arguments)
    while len(list((package / "runs").glob("*/checkpoints/update-*.pt"))) < 2:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for more in ([], ["force=true"]):
        status, _, errors = answer(package, *arguments, *more)
        assert status == 0, errors
    resumed, straight = (json.loads(file.read_text()) for file in sorted((package / "runs").glob("*/record.json")))
    assert (resumed["restarts"], straight["restarts"]) == (1, 0)
    assert all(resumed[key] == straight[key] for key in ("summary", "parameters_digest", "events"))


def test_its_plan_has_only_what_it_reads_and_mistakes_are_answered(package):
    status, plan, errors = answer(package, "exp=line", "optim=adam", "launch=plan")
    assert status == 0, errors
    assert "optim.lr" in plan and not re.search("ppo|bptt|glue|augmentation|segments", plan)
    status, _, errors = answer(package, "exp=line", "optim=adam", "augmentation.mixup=0.5")
    assert status == 2 and "augmentation.mixup=0.5 (command line): line does not read it" in errors
    status, _, errors = answer(package, "exp=lin", "optim=adam")
    assert status == 2 and "did you mean 'line'" in errors


def test_what_is_announced_wrongly_is_named(package):
    [points] = package.glob("*.dist-info/entry_points.txt")
    points.write_text(points.read_text().replace("my_package:LINE", "my_package:Line"))
    status, _, errors = answer(package, "exp=line", "optim=adam")
    assert status == 2 and "task=line: entry point my_package:Line is no TaskInfo but a type" in errors
