"""The event log: one JSON object per line, each line chained to the one before by SHA-256.

A line is the canonical spelling of the event with one more field, `hash` = SHA-256 of (the hash of the line
before, then the event's canonical spelling). Events hold nothing that depends on the clock or the machine, so a
run that was killed and resumed ends on the same hash as one that was left alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from experiments.record.atomic import keep_beside, sync_folder
from experiments.record.canonical import canonical, restore, sha256
from experiments.schema.errors import UserError

ORIGIN = "0" * 64  # what the first line is chained to


class Position(NamedTuple):
    """A place in a log: its length until there, and the hash of the last line before."""

    bytes: int = 0
    events: int = 0
    hash: str = ORIGIN


@dataclass(frozen=True)
class Scan:
    """A log as read: its events, where its good part ends, and what is wrong, one sentence per line at fault.

    The good part ends before the first line that is incomplete, not canonical or breaks the chain.
    """

    events: list[dict[str, Any]]
    good: Position
    problems: list[str]


class EventLog:
    """A log open for appending, by the one process that holds the run directory.

    Opening one that exists continues it after its last good line. What stands behind that line (torn by a kill) is
    set aside by `cut_back`, or by the first `append`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        scan = read_log(path.read_bytes())
        self._position = scan.good
        self._stray = path.stat().st_size > scan.good.bytes

    def append(self, kind: str, /, **values: Any) -> None:
        """Write one event. It is in the hands of the operating system on return, on disk after `sync`.

        Raises TypeError or ValueError, with nothing written, for values that JSON cannot hold; OSError (disk
        full), with a half-written line removed.
        """
        reserved = {"kind", "hash"} & values.keys()
        if reserved:
            raise ValueError(f"an event has no room for a value named {reserved.pop()!r}")
        if self._stray:
            self.cut_back(self._position._asdict())
        line, digest = _link(self._position.hash, {"kind": kind, **values})
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:
            os.ftruncate(self._file.fileno(), self._position.bytes)
            raise
        self._position = Position(self._position.bytes + len(line), self._position.events + 1, digest)

    def sync(self) -> None:
        """Wait until everything appended is on disk. A checkpoint stores `position()` after this."""
        os.fsync(self._file.fileno())
        sync_folder(self.path.parent)

    def position(self) -> dict[str, Any]:
        """Where the log stands now: `{"bytes": length, "events": count, "hash": of the last line}`."""
        return self._position._asdict()

    def cut_back(self, position: dict[str, Any] | None) -> Path | None:
        """Make the log end at `position` (None: empty) and keep what stood behind as `events.tail-<n>.jsonl`.

        Returns the file with the tail, None when there was none. A tail equal to one already kept is not kept
        twice. Raises UserError when the log does not hold what it held at `position`.
        """
        wanted = Position(**position) if position else Position()
        content = self.path.read_bytes()
        scan = read_log(content[: wanted.bytes])
        if scan.good != wanted:
            reason = scan.problems[0] if scan.problems else f"{scan.good.events} events are left of {wanted.events}"
            raise UserError(
                f"{self.path} is not what it was when the checkpoint was written ({reason}). "
                "Put the file back, or move the run directory away to start the run again"
            )
        kept = None
        if len(content) > wanted.bytes:
            names = (f"{self.path.stem}.tail-{number}{self.path.suffix}" for number in count(1))
            kept = keep_beside(self.path.parent, names, content[wanted.bytes :])
            os.ftruncate(self._file.fileno(), wanted.bytes)
            self.sync()
        self._position, self._stray = wanted, False
        return kept

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(content: bytes) -> Scan:
    """Read and check the bytes of a log. Never raises: what is wrong is in `problems`, by event counted from 0."""
    events: list[dict[str, Any]] = []
    problems: list[str] = []
    good, previous, end = Position(), ORIGIN, 0
    *lines, torn = content.split(b"\n")
    for index, line in enumerate(lines):
        end += len(line) + 1
        event, digest = _parse(line)
        if event is None:
            problems.append(f"event {index} is not a JSON object with a kind and a hash")
        elif (line + b"\n", digest) != _link(previous, event):
            problems.append(f"event {index} ({_title(event)}) was altered, or one before it added, removed or altered")
        elif not problems:
            good = Position(end, index + 1, digest)
        events.append(restore(event) if event is not None else {})
        previous = digest
    if torn:
        problems.append(f"event {len(lines)} is incomplete")
    return Scan(events, good, problems)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a log in order, without their hashes; an incomplete last line is left out.

    Raises UserError naming the first event that cannot be read. The chain is not checked: see `check_chain`.
    """
    events = read_log(path.read_bytes()).events
    if {} in events:
        raise UserError(f"{path}: event {events.index({})} is not a JSON object with a kind and a hash")
    return events


def check_chain(path: Path) -> list[str]:
    """Return what is wrong with a log, one sentence per event at fault (counted from 0); empty when it is whole."""
    return read_log(path.read_bytes()).problems


def _link(previous: str, event: dict[str, Any]) -> tuple[bytes, str]:
    text = canonical(event)
    digest = sha256(previous + text)
    return f'{text[:-1]},"hash":"{digest}"}}\n'.encode(), digest


def _parse(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        event = json.loads(line)
        digest = event.pop("hash")
        event["kind"] + digest  # both are strings
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, ORIGIN
    return event, digest


def _title(event: dict[str, Any]) -> str:
    update = event.get("update")
    return event["kind"] if update is None else f"{event['kind']} at update {update}"
