"""The names a user can choose from: one YAML file in one folder of `configs/` is one choice.

Optimizers, experiments and data sets that installed packages announce are choices, too.
"""

from __future__ import annotations

from pathlib import Path

from experiments.schema import paths
from experiments.schema.announced import announced, config_folders
from experiments.schema.errors import UserError, suggestion

GROUPS = {
    "exp": "experiment",
    "optim": "optimizer",
    "data": "data set",
    "scale": "scale",
    "launch": "launcher",
    "track": "tracker",
    "table": "table",
    "tune": "tuning",
}

ANNOUNCED = ("exp", "data")  # groups whose files may lie in folders of installed packages


def file_of(group: str, name: str, configs: Path = paths.CONFIGS) -> Path:
    """The file of a choice: that of `configs`, or else the first that an installed package has."""
    files = [folder / group / f"{name}.yaml" for folder in (configs, *config_folders())]
    return next((file for file in files if file.is_file()), files[0])


def choices(group: str, configs: Path = paths.CONFIGS) -> list[str]:
    """Names of `group`, in alphabetical order."""
    folders = (configs, *config_folders()) if group in ANNOUNCED else (configs,)
    files = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    return sorted(files | announced().keys() if group == "optim" else files)


def require(group: str, name: object, origin: str, configs: Path = paths.CONFIGS) -> str:
    """Return `name` if `configs/<group>` has it, else raise UserError with the nearest name."""
    names = choices(group, configs)
    if not isinstance(name, str) or name not in names:
        raise UserError(f"{group}={name} ({origin}): no such {GROUPS[group]}{suggestion(name, names)}")
    return name
