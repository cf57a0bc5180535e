"""Optimizers from other packages: the documented example itself, registered and as an installed entry point."""

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib

import pytest

from experiments import optimizers
from experiments.schema import paths

CODE, ANNOUNCEMENT = (
    textwrap.dedent(block).strip() + "\n"
    for block in re.findall(r"(?:^    .*\n|^\n)+", optimizers.__doc__, re.MULTILINE)
    if "SIGNSGD" in block
)
USE = """
import torch
from experiments import optimizers
model = torch.nn.Linear(3, 2)
model.unused = torch.nn.Parameter(torch.zeros(1))
before = model.weight.detach().clone()
optimizer = optimizers.build({"name": "signsgd", "lr": 0.5, "weight_decay": 0.5}, model)
model(torch.ones(1, 3)).sum().backward()
optimizer.step()
torch.testing.assert_close(model.weight.detach(), 0.75 * before - 0.5)
print(optimizers.describe(optimizer)["name"], "signsgd" in optimizers.names(), optimizers.info("signsgd").states)
"""


@pytest.fixture
def package(tmp_path):
    """The example as a user would save it, not announced."""
    (tmp_path / "my_package.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def installed(package):
    """What installing it makes of the documented lines of its `pyproject.toml`."""
    [(group, points)] = tomllib.loads(ANNOUNCEMENT)["project"]["entry-points"].items()
    about = package / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    return package


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{paths.ROOT}", "OMP_NUM_THREADS": "1"}
    environment |= {"ADAN_RUNS": str(folder / "runs"), "ADAN_RESULTS": str(folder / "results"), "COLUMNS": "120"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_the_example_is_about_ten_lines():
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 12


def test_the_example_works_once_registered(package):
    answer = python(package, "-c", "from my_package import SIGNSGD\n" + REGISTER + USE)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "signsgd True 0\n"


REGISTER = "from experiments.optimizers import register\nregister(SIGNSGD)\nregister(SIGNSGD)  # a module run twice\n"


def test_the_example_works_once_installed(installed):
    answer = python(installed, "-c", USE)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "signsgd True 0\n"


def test_the_installed_example_trains_by_the_documented_command(installed):
    [command] = re.findall(r"`python (run\.py [^`]*signsgd[^`]*)`", optimizers.__doc__)
    door, *arguments = command.split()
    answer = python(installed, paths.ROOT / door, *arguments, "stop_at=2updates")
    assert answer.returncode == 0, answer.stderr
    [record] = (installed / "runs").glob("*/record.json")
    assert "my_package.SignSGD" in record.read_text()
    plan = python(installed, paths.ROOT / door, *arguments, "launch=plan", "launch.format=json")
    tree = json.loads(plan.stdout)
    assert tree["optimizer"] == {"name": "signsgd", "lr": 1e-4, "weight_decay": 0.0, "decay_bias_and_norm": False}
    assert tree["memory_bytes"]["optimizer_state"] == 0


def test_the_installed_example_is_listed_and_its_mistakes_are_answered(installed):
    door = paths.ROOT / "run.py"
    listed = python(installed, door, "--optimizers").stdout
    assert re.search(r"^signsgd +my_package +1\.0 +0 +yes", listed, re.MULTILINE)
    assert "arXiv 1802.04434" in listed
    for arguments, message in (
        (["optim=signsg"], "did you mean 'signsgd'"),
        (["optim=signsgd", "optim.weight_decy=1"], "did you mean 'weight_decay'"),
        (["optim=signsgd", "optim.lr=fast"], "expected a number"),
    ):
        answer = python(installed, door, "exp=vit_small", *arguments)
        assert (answer.returncode, message in answer.stderr) == (2, True), answer.stderr


def test_an_entry_point_of_another_name_is_refused(installed):
    [points] = installed.glob("*.dist-info/entry_points.txt")
    points.write_text(points.read_text().replace("signsgd =", "other ="))
    answer = python(installed, paths.ROOT / "run.py", "exp=vit_small", "optim=other", "launch=plan")
    assert answer.returncode == 2
    assert "optim=other: entry point my_package:SIGNSGD names itself 'signsgd'" in answer.stderr


@pytest.mark.parametrize(
    "point, message",
    [
        ("my_package:SignSGD", "is no OptimizerInfo but a type"),
        ("my_package:missing", "cannot be loaded: AttributeError"),
        ("no_such_package:SIGNSGD", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_package_that_announces_something_else_is_named(installed, point, message):
    [points] = installed.glob("*.dist-info/entry_points.txt")
    points.write_text(points.read_text().replace("my_package:SIGNSGD", point))
    answer = python(installed, paths.ROOT / "run.py", "exp=vit_small", "optim=signsgd", "launch=plan")
    assert answer.returncode == 2
    assert f"optim=signsgd: entry point {point} {message}" in answer.stderr
