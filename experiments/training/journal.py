"""Write down runs while they go on: events, wall-clock times, the tracker's mirror. Rank 0 alone writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.record.atomic import remove_leftovers
from experiments.record.events import EventLog
from experiments.record.run_directory import RunDirectory
from experiments.record.timing import Timing
from experiments.record.trackers import open_tracker
from experiments.schema.config import RunConfig
from experiments.training.batched_seeds import together
from experiments.training.task import EachRun


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
        self._spent = 0.0  # seconds of training since the last epoch was noted
        self.start_clock()

    def go_back(self, position: dict[str, Any] | None, update: int, **facts: Any) -> Path | None:
        """Begin this process's part of the run after `update`: cut the event log back to `position`, where it stood
        at that checkpoint (None: empty), and note a start or restart with `facts`. Returns the file that keeps the
        events written since, None where there were none."""
        if not self.writes:
            return None
        remove_leftovers(self._checkpoints)
        kept = self._events.cut_back(position)
        self._timing.start(update, **facts)
        return kept

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

    def stop_clock(self) -> None:
        """Training pauses now, until `start_clock`."""
        if self.writes:
            self._spent += time.monotonic() - self._clock

    def epoch(self, epoch: int, update: int, samples: int, **values: Any) -> None:
        """Training reached the end of `epoch`, with `samples` samples since the one before, and pauses. The wall-clock
        file gets `values`, too."""
        if self.writes:
            self.stop_clock()
            self._timing.epoch(epoch, update, self._spent, samples, **values)
            self._spent = 0.0

    def position(self) -> dict[str, Any]:
        """Where the event log stands, once everything before is on disk."""
        self._events.sync()
        return self._events.position()

    def close(self) -> None:
        """Release files and tracker."""
        if self.writes:
            self._tracker.finish()
            self._events.close()


class Journals:
    """The journals of runs that train as one batch (mostly of one); what is said to them each of them writes."""

    def __init__(self, members: Sequence[tuple[RunConfig, RunDirectory]], writes: bool) -> None:
        self.writes = writes
        self._facts = together(members)
        self._journals = [Journal(config, directory, writes) for config, directory in members]
        self.ended: set[int] = set()  # places of the runs that write nothing more

    def go_back(self, positions: Sequence[dict[str, Any] | None], update: int) -> list[Path]:
        """Let each `Journal.go_back` to its own position; the wall-clock files say which runs train together."""
        kept = [journal.go_back(positions[index], update, **self._facts) for index, journal in self._going_on()]
        return [path for path in kept if path is not None]

    def event(self, kind: str, **values: Any) -> None:
        """Write a `Journal.event` of each run; of a value that is `EachRun` every run gets its own."""
        for index, journal in self._going_on():
            journal.event(kind, **_own(values, index))

    def note(self, kind: str, **values: Any) -> None:
        """Write a `Journal.note` of each run."""
        for _, journal in self._going_on():
            journal.note(kind, **values)

    def end(self, index: int, kind: str, **values: Any) -> None:
        """Write a last `Journal.note` to one run."""
        self._journals[index].note(kind, **values)
        self.ended.add(index)

    def start_clock(self) -> None:
        """Call each `Journal.start_clock`."""
        for _, journal in self._going_on():
            journal.start_clock()

    def stop_clock(self) -> None:
        """Call each `Journal.stop_clock`."""
        for _, journal in self._going_on():
            journal.stop_clock()

    def epoch(self, epoch: int, update: int, samples: int, **values: Any) -> None:
        """Call each `Journal.epoch`; `samples` are those of one run, and of an `EachRun` each gets its own value."""
        for index, journal in self._going_on():
            journal.epoch(epoch, update, samples, **_own(values, index))

    def positions(self) -> list[dict[str, Any]]:
        """Where the event logs stand, once everything before is on disk."""
        return [journal.position() for journal in self._journals]

    def close(self) -> None:
        """Release files and trackers."""
        for journal in self._journals:
            journal.close()

    def _going_on(self) -> list[tuple[int, Journal]]:
        return [(index, journal) for index, journal in enumerate(self._journals) if index not in self.ended]


def _own(values: dict[str, Any], index: int) -> dict[str, Any]:
    """What the run at `index` writes of `values`."""
    return {key: value[index] if isinstance(value, EachRun) else value for key, value in values.items()}
