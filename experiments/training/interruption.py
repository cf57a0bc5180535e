"""SIGTERM, or SIGHUP where a terminal is closed, asks a run to checkpoint at its next update and leave; the handler
only raises a flag."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = ("SIGTERM", "SIGHUP")


class Interruption:
    """Context manager that turns these signals into a flag and restores the previous handlers on exit. A signal that
    the process was started to ignore (nohup) stays ignored."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._raise_flag)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _raise_flag(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
