"""Losses that are read every few updates, in a process."""

from __future__ import annotations

import os
import signal

from killing import kill_at_update

from experiments.training import loop


def read_every(updates: int, stop_at: int | None = None, number: int = signal.SIGKILL) -> None:
    """Let this process read losses that often, and get a signal when about to perform the update `stop_at`."""
    begin = loop.Run.__init__

    def beginning(self: loop.Run, *arguments: object) -> None:
        begin(self, *arguments)
        self.updates_between_reads = updates

    loop.Run.__init__ = beginning  # type: ignore[method-assign]
    if stop_at is not None:
        kill_at_update(stop_at, number)


def end_one_rank_at_update_five() -> None:
    """Read every fourth update; the second rank alone hears SIGTERM, at update 5."""
    read_every(4, 5 if os.environ["RANK"] == "1" else None, signal.SIGTERM)
