"""The names a user can choose from: one YAML file in one folder of `configs/` is one choice.

Optimizers that installed packages announce are choices, too.
"""

from __future__ import annotations

from pathlib import Path

from experiments.schema import paths
from experiments.schema.announced import announced
from experiments.schema.errors import UserError, suggestion

GROUPS = {
    "exp": "experiment",
    "optim": "optimizer",
    "data": "data set",
    "scale": "scale",
    "launch": "launcher",
    "track": "tracker",
    "table": "table",
    "search": "search",
}


def choices(group: str, configs: Path = paths.CONFIGS) -> list[str]:
    """Names of `group`, in alphabetical order."""
    files = {path.stem for path in (configs / group).glob("*.yaml")}
    return sorted(files | announced().keys() if group == "optim" else files)


def require(group: str, name: object, origin: str, configs: Path = paths.CONFIGS) -> str:
    """Return `name` if `configs/<group>` has it, else raise UserError with the nearest name."""
    names = choices(group, configs)
    if not isinstance(name, str) or name not in names:
        raise UserError(f"{group}={name} ({origin}): no such {GROUPS[group]}{suggestion(name, names)}")
    return name
