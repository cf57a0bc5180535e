"""The installed simulator: whether it is there, its version, its models. mujoco is loaded only when asked for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.schema.errors import UserError

# Its models are read by both engines, so both need gymnasium; the batch API came with mujoco 4.
LEAST_VERSION = {"mujoco": 4, "gymnasium": 1}
INSTALL = "pip install -e '.[ppo]', or pip install 'gymnasium[mujoco]>=1' 'mujoco>=4'"
NOISE_OF_COMPILING = "settotalmass"


def check_installed(engine: str) -> None:
    """Raise UserError when what `engine` needs is missing or too old, saying what to install."""
    for package, least in LEAST_VERSION.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            raise UserError(f"engine {engine!r} needs {package}, which is not installed: {INSTALL}") from None
        if int(found.split(".")[0]) < least:
            raise UserError(f"engine {engine!r} needs {package} {least} or later, {found} is installed: {INSTALL}")


def versions() -> dict[str, str]:
    """Versions of both packages: the models come from gymnasium, the physics from mujoco."""
    return {"mujoco_version": version("mujoco"), "gymnasium_version": version("gymnasium")}


def identity(game: str, engine: str) -> dict[str, str]:
    """Return what decides the numbers: engine and its version, versions of mujoco and gymnasium (models),
    environment."""
    return {"engine": engine, "engine_version": version(engine), **versions(), "environment_id": f"{game}-v4"}


def load_mujoco() -> Any:
    """The package mujoco. At its first import it looks for what MUJOCO_GL names, and fails where that is not to be had;
    nothing here renders, so it is told to look for nothing. Who renders imports it before."""
    if "mujoco" in sys.modules:
        return sys.modules["mujoco"]
    asked = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"
    try:
        return import_module("mujoco")
    finally:
        del os.environ["MUJOCO_GL"]
        if asked is not None:
            os.environ["MUJOCO_GL"] = asked


def load_model(file_name: str) -> Any:
    """Compile the MjModel of one of gymnasium's model files."""
    mujoco = load_mujoco()
    spec = find_spec("gymnasium")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "envs" / "mujoco" / "assets" / file_name
    with quiet_compiler():
        return mujoco.MjModel.from_xml_path(str(path))


@contextmanager
def quiet_compiler() -> Iterator[None]:
    """Drop what is said about the age of gymnasium's models and `-v4` rules: both are what a reproduction wants.

    mujoco would print it and write it into a file MUJOCO_LOG.TXT of the working directory.
    """
    mujoco = load_mujoco()

    def tell_others(message: str) -> None:
        if NOISE_OF_COMPILING not in message:
            warnings.warn(message, stacklevel=2)

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(tell_others)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is out of date", category=DeprecationWarning)
            yield
    finally:
        mujoco.set_mju_user_warning(before)
