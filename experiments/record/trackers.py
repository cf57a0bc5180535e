"""Mirrors of the event log elsewhere. None of them can hurt a run: the log is the truth, a mirror may fail.

W&B and TensorBoard are fed by a process of its own (`record.mirror`) that reads the log by itself. This process starts
it, looks whether it lives, and ends it: nothing here waits for it but `finish`, for a limited time. So neither an
exception nor a call that never returns, nor the exit handler of a W&B run, reaches the training process. The package
itself may be imported there, since timm's utilities import it where it is installed; nothing calls it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion

logger = logging.getLogger(__name__)
TITLES = {"wandb": "W&B", "tensorboard": "TensorBoard"}
ORPHAN_SECONDS = 600.0  # how long a mirror may go on sending when its run was killed


class Tracker(Protocol):
    """The loop tells a mirror of its events by these methods. No method raises or blocks for long."""

    def log(self, event: Mapping[str, Any]) -> None:
        """`event` has been appended to the event log."""

    def finish(self) -> None:
        """No event follows from this process."""


class NoTracker:
    """Keeps nothing: the default, which needs no account."""

    def log(self, event: Mapping[str, Any]) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class MirrorProcess:
    """A `record.mirror` process beside the run, started at the first event. What it prints goes to `mirror.log`.

    `patience`: seconds that `finish` waits for the last uploads of a sealed run, and of one that was interrupted
    (which has a deadline of its own to leave by) before it ends the process.
    """

    def __init__(self, directory: RunDirectory, patience: tuple[float, float] = (30.0, 5.0)) -> None:
        self.directory, self.patience = directory, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up = False

    def log(self, event: Mapping[str, Any]) -> None:
        """Start the mirror, or see whether it still lives. Microseconds but for the start."""
        if self._process is None and not self._given_up:
            self._start()
        elif self._process is not None and self._process.poll() is not None:
            self._give_up("it ended early")

    def finish(self) -> None:
        """Tell the mirror that no event follows and let it send what it has, as long as patience lasts."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            status = self._process.wait(self.patience[0 if self.directory.record_path.exists() else 1])
            if status != 0:
                self._give_up(f"it ended with status {status}")
        except subprocess.TimeoutExpired:
            self._give_up("it did not end in time")
        self._process = None

    def _start(self) -> None:
        try:
            with (self.directory.path / "mirror.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*mirror_command(self.directory.path), str(ORPHAN_SECONDS)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=mirror_environment(),
                    start_new_session=True,  # Ctrl-C is for the run
                )
        except OSError as error:
            self._give_up(f"it could not be started: {error}")

    def _give_up(self, reason: str) -> None:
        """End the mirror for good, with one warning."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
        if not self._given_up:
            logger.warning(
                "the %s mirror of %s is off: %s (%s says more). The run is not touched; to send it later: "
                "python -m experiments.record.mirror %s < /dev/null",
                TITLES[self.directory.config().track.name],
                self.directory.name,
                reason,
                self.directory.path / "mirror.log",
                self.directory.path,
            )
        self._given_up = True


def open_tracker(config: RunConfig, directory: RunDirectory) -> Tracker:
    """The mirror that `config.track` names. Raises UserError as `require` does."""
    require(config)
    return NoTracker() if config.track.name == "none" else MirrorProcess(directory)


def require(config: RunConfig) -> None:
    """Raise UserError for a tracker that is none, and for one whose package is not installed."""
    name = config.track.name
    if name not in ("none", *TITLES):
        raise UserError(f"track={name} is no tracker{suggestion(name, ('none', *TITLES))}")
    if name == "tensorboard" and find_spec("tensorboard") is None:
        raise UserError("track=tensorboard needs the package tensorboard: pip install -e '.[tensorboard]'")


def replay(directory: RunDirectory) -> int:
    """Mirror everything a run directory, or a copy of one, has so far; return the exit status of the mirror."""
    command, environment = mirror_command(directory.path), mirror_environment()
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment).returncode


def mirror_command(path: Path) -> list[str]:
    """The command that mirrors the run directory `path` until its standard input ends."""
    return [sys.executable, "-m", "experiments.record.mirror", str(path)]


def mirror_environment() -> dict[str, str]:
    """This environment, with the repository importable also where it is not installed."""
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [before, str(paths.ROOT)]))}
