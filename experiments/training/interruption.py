"""SIGTERM asks a run to checkpoint at its next update and leave; the handler only raises a flag."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interruption:
    """Context manager that turns SIGTERM into a flag and restores the previous handler on exit."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: signal.Handlers | object = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._raise_flag)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)  # type: ignore[arg-type]

    def _raise_flag(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
