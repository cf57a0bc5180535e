"""What a run writes down while it goes on: events, wall-clock times, the tracker's mirror. Rank 0 alone writes."""

from __future__ import annotations

import time
from typing import Any

from experiments.record.atomic import remove_leftovers
from experiments.record.events import EventLog
from experiments.record.run_directory import RunDirectory
from experiments.record.timing import Timing
from experiments.record.trackers import open_tracker
from experiments.schema.config import RunConfig


class Journal:
    """The open files of a run directory; on ranks other than 0 every method does nothing."""

    def __init__(self, config: RunConfig, directory: RunDirectory, writes: bool) -> None:
        self.writes = writes
        if not writes:
            return
        self._checkpoints = directory.checkpoints
        self._events = EventLog(directory.events_path)
        self._timing = Timing(directory.timing_path)
        self._tracker = open_tracker(config, directory)
        self.start_clock()

    def go_back(self, position: dict[str, Any] | None, update: int) -> None:
        """Begin this process's part of the run after `update`: cut the event log back to `position`, where it stood
        at that checkpoint (None: empty), and note a start or restart."""
        if self.writes:
            remove_leftovers(self._checkpoints)
            self._events.cut_back(position)
            self._timing.start(update)

    def event(self, kind: str, **values: Any) -> None:
        """Append to the event chain: nothing that depends on the clock or the machine."""
        if self.writes:
            self._events.append(kind, **values)
            self._tracker.log({"kind": kind, **values})

    def note(self, kind: str, **values: Any) -> None:
        """Tell the wall-clock file, outside the chain, what happened to this process."""
        if self.writes:
            self._timing.note(kind, **values)

    def start_clock(self) -> None:
        """Training goes on now."""
        self._clock = time.monotonic()

    def epoch(self, epoch: int, update: int, samples: int) -> None:
        """Training reached the end of `epoch`: `samples` samples since `start_clock`."""
        if self.writes:
            self._timing.epoch(epoch, update, time.monotonic() - self._clock, samples)

    def position(self) -> dict[str, Any]:
        """Where the event log stands, once everything before is on disk."""
        self._events.sync()
        return self._events.position()

    def close(self) -> None:
        """Release files and tracker."""
        if self.writes:
            self._tracker.finish()
            self._events.close()
