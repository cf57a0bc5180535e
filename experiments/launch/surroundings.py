"""Settle what a process meets before it works: streams that are closed or full, no home, signals that come early.

Imports nothing that takes time, because a signal may come in the first second.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.launch.status import REQUEUE
from experiments.training.interruption import handle_stops


def settle() -> None:
    """Make this process one that signals end with 75 until a run handles them itself, whose output may get lost without
    harm, and whose user has a home."""
    handle_stops(_leave)
    _open_what_is_closed()
    sys.stdout, sys.stderr = Lossy(sys.stdout), Lossy(sys.stderr)  # type: ignore[assignment]
    _give_a_home()


class Lossy:
    """A text stream to which writing never fails: once its device is full, or its reader gone, what is written is
    dropped, and `lost` holds the error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal of another encoding

    def write(self, text: str) -> int:
        """Write `text` as far as that is possible."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write them all."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # else Python fails again, at its exit


def lost_output() -> OSError | None:
    """Why standard output was lost, None where it was not."""
    sys.stdout.flush()
    return getattr(sys.stdout, "lost", None)


def _leave(_number: int, _frame: object) -> None:
    os._exit(REQUEUE)  # in the middle of an import there is nothing to put in order


def _open_what_is_closed() -> None:
    """A file that is opened next must not take the place of a standard stream, and be printed into."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def _give_a_home() -> None:
    """A user id without an entry among the users (of a container) has no home and no name, and libraries ask for
    both."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(_temporary_home())
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def _temporary_home() -> Path:
    """A folder of this user alone: code that libraries compile is kept there, and run."""
    home = Path(tempfile.gettempdir()) / f"adan-{os.getuid()}"
    with contextlib.suppress(OSError):
        home.mkdir(mode=0o700, exist_ok=True)
        found = home.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return home
    return Path(tempfile.mkdtemp(prefix="adan-"))
