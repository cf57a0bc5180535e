"""Find what installed packages announce: optimizers, which are choices of `optim=` beside the files of `configs/optim`,
and folders of experiments and data sets that are laid out as `configs`.

    [project.entry-points."adan_reproduction.configs"]
    toy = "my_package"

names the module beside which such a folder lies, `configs`; its experiments and data sets are choices of `exp=` and
`data=`. Of kinds of task `task_info` knows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.schema.errors import UserError

ENTRY_POINT_GROUP = "adan_reproduction.optimizers"
CONFIGS_GROUP = "adan_reproduction.configs"


@cache
def announced() -> Mapping[str, EntryPoint]:
    """The entry points of all installed packages by name; none is loaded."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def load(name: str) -> Any:
    """Load the entry point `name`: an `experiments.optimizers.OptimizerInfo`. UserError where it does not."""
    point = announced()[name]
    try:
        entry = point.load()
    except Exception as error:  # a package of somebody else's may fail in any way
        raise UserError(f"optim={name}: entry point {point.value} cannot be loaded: {error!r}") from error
    if not isinstance(getattr(entry, "defaults", None), Mapping):
        raise UserError(f"optim={name}: entry point {point.value} is no OptimizerInfo but a {type(entry).__name__}")
    if entry.name != name:
        raise UserError(f"optim={name}: entry point {point.value} names itself {entry.name!r}: both must be the same")
    return entry


def hyper_parameters(name: str) -> dict[str, Any]:
    """Return what a file of `configs/optim` would hold for it: name, hyper-parameters at their defaults, who decays."""
    defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in load(name).defaults.items()}
    return {"name": name, **defaults, "decay_bias_and_norm": False}


@cache
def config_folders() -> tuple[Path, ...]:
    """The announced folders, in alphabetical order of their packages; no module is imported. UserError where one is not
    there."""
    folders = []
    for point in sorted(entry_points(group=CONFIGS_GROUP), key=lambda point: point.name):
        spec = find_spec(point.value.partition(".")[0])
        folder = Path(spec.origin).parent / "configs" if spec and spec.origin else None
        if folder is None or not folder.is_dir():
            raise UserError(
                f"{CONFIGS_GROUP}: {point.name} = {point.value!r}: there is no folder {folder or 'configs'}"
            )
        folders.append(folder)
    return tuple(folders)
