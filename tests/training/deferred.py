"""Losses that are read every few updates, as on a GPU, in a process on the CPU."""

from __future__ import annotations

import os
import signal

from killing import kill_at_update

from experiments.training import loop


def read_every(updates: int, stop_at: int | None = None, number: int = signal.SIGKILL) -> None:
    """Let this process read losses that often, and get a signal when about to perform the update `stop_at`."""
    loop.updates_between_reads = lambda part: updates
    if stop_at is not None:
        kill_at_update(stop_at, number)


def end_one_rank_at_update_five() -> None:
    """Read every fourth update; the second rank alone hears SIGTERM, at update 5."""
    read_every(4, 5 if os.environ["RANK"] == "1" else None, signal.SIGTERM)
