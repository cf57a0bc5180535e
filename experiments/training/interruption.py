"""SIGTERM, or SIGHUP where a terminal is closed, asks a run to checkpoint at its next update and leave; the handler
only raises a flag.

Imports nothing that takes time: `run.py` handles these signals before anything else.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def heard() -> list[signal.Signals]:
    """The signals that ask to stop, but for those that the process was started to ignore (nohup)."""
    return [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]


def handle_stops(handler: Any) -> dict[int, Any]:
    """Install `handler` for the signals that are `heard`; return the handlers before by signal."""
    return {number: signal.signal(number, handler) for number in heard()}


class Interruption:
    """Context manager that turns these signals into a flag and restores the previous handlers on exit."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous = handle_stops(self._raise_flag)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _raise_flag(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
