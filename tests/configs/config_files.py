"""The files under test, read as plain YAML: what they say, without the code that composes them.

An experiment stands here with what it takes from its family.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from experiments.schema.experiment_file import read_experiment

ROOT = Path(__file__).parents[2]


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def folder(*parts: str) -> dict[str, dict[str, Any]]:
    """Every YAML file of a folder by its name without suffix."""
    return {path.stem: read(path) for path in sorted(ROOT.joinpath(*parts).glob("*.yaml"))}


EXPERIMENTS = {name: read_experiment(name) for name in folder("configs", "exp")}
OPTIMIZERS = folder("configs", "optim")
DATA = folder("configs", "data")
TABLES = {name: tree for name, tree in folder("configs", "table").items() if "cells" in tree}
REPORTED = {
    record["id"]: record for tree in folder("results", "reported").values() for record in tree.get("records", [])
}
