"""The house itself: which room may import which, what imports no torch, versions that agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import experiments

ROOT = Path(__file__).resolve().parents[2]
ROOMS = re.findall(r"^`(\w+)`", experiments.__doc__ or "", re.MULTILINE)


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_table_of_rooms_names_every_room():
    folders = {path.parent.name for path in (ROOT / "experiments").glob("*/__init__.py")}
    assert set(ROOMS) == folders


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room):
    below = set(ROOMS[ROOMS.index(room) + 1 :])
    for path in (ROOT / "experiments" / room).rglob("*.py"):
        reached = {name.split(".")[1] for name in imported(path) if name.startswith("experiments.")}
        assert not reached & below, f"{path.relative_to(ROOT)} imports {sorted(reached & below)}"


def test_adan_imports_nothing_else_of_ours():
    for path in (ROOT / "adan").rglob("*.py"):
        assert not {name for name in imported(path) if name.split(".")[0] == "experiments"}


@pytest.mark.parametrize(
    "room",
    [
        "schema",
        "record",
        "verdict",
        "report",
        "optimizers",
        "data",
        "models",
        "environments",
        "tasks.catalogue",
        "launch",
    ],
)
def test_rooms_that_must_answer_at_once_import_no_torch(room):
    code = f"import sys, experiments.{room}; sys.exit('torch' in sys.modules)"
    if room in ("schema", "record", "verdict", "report"):
        modules = [path.stem for path in (ROOT / "experiments" / room).glob("*.py") if path.stem != "__init__"]
        code = f"import sys; from experiments.{room} import {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_exact_versions_of_the_environment_are_within_the_ranges_of_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, pip = environment["dependencies"]
    pinned = [Requirement(line) for line in pip["pip"]]
    exact = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pinned}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    for text in [*project["dependencies"], *extras]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == project["name"]:
            continue  # an extra that includes another
        assert name in exact, f"environment.yml does not pin {name}"
        assert exact[name] in requirement.specifier, f"{name}=={exact[name]} is outside {requirement.specifier}"
    [python] = [line for line in plain if line.startswith("python=")]
    assert python.removeprefix("python=") in Requirement(f"python{project['requires-python']}").specifier
