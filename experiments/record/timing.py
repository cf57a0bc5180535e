"""Wall-clock time, throughput, restarts and norms of a run: append-only JSON lines, outside the event chain.

Every line has `kind`, `at` (UTC) and `elapsed` (seconds since this process opened the file). Kinds written
here: `start` (first process of the run), `restart` (each later one), `epoch`; others come through `note`.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.record.canonical import canonical
from experiments.record.provenance import code


class Timing:
    """The wall-clock file of a run. Creating one writes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = time.perf_counter()

    def start(self, update: int, **values: Any) -> None:
        """This process begins after `update` updates: a `start`, or a `restart` when the file says the run had one.

        Notes the revision of the code too, so that a record can tell that it changed in between.
        """
        started = any(line["kind"] in ("start", "restart") for line in read_lines(self._content()))
        self.note("restart" if started else "start", update=update, **{"code": code(), **values})

    def restart(self, update: int, **values: Any) -> None:
        """This process continues after `update` updates, whatever the file says."""
        self.note("restart", update=update, **{"code": code(), **values})

    def epoch(self, epoch: int, update: int, seconds: float, samples: int, **values: Any) -> None:
        """Epoch `epoch` ended at `update`; this process spent `seconds` on `samples` samples of it. `values` tell more
        of it (`experiments.training.norms`); older records have none."""
        self.note("epoch", epoch=epoch, update=update, seconds=seconds, samples=samples, **values)

    def note(self, kind: str, /, **values: Any) -> None:
        """Append one line."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        elapsed = round(time.perf_counter() - self._opened, 6)
        line = canonical({**values, "kind": kind, "at": at, "elapsed": elapsed}).encode() + b"\n"
        with self.path.open("ab+") as file:
            torn = file.tell() > 0 and file.seek(-1, 2) >= 0 and file.read(1) != b"\n"  # by a kill
            file.write(b"\n" + line if torn else line)

    def totals(self) -> dict[str, Any]:
        """`wall_seconds`, `samples`, `samples_per_second` (None before the first epoch) and `restarts` so far."""
        return totals(self._content())

    def _content(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""


def read_lines(content: bytes) -> list[dict[str, Any]]:
    """The lines of a wall-clock file; one that a kill tore is left out."""
    lines = []
    for line in content.split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "kind" in value:
            lines.append(value)
    return lines


def totals(content: bytes) -> dict[str, Any]:
    """Sums over a wall-clock file.

    Work done twice because a kill came before its checkpoint counts twice: these numbers say what the run cost.
    `wall_seconds` adds, over processes, the time until their last line.
    """
    wall, last, samples, seconds, restarts = 0.0, 0.0, 0, 0.0, 0
    for line in read_lines(content):
        if line["kind"] in ("start", "restart"):
            wall, last = wall + last, 0.0
            restarts += line["kind"] == "restart"
        elif line["kind"] == "epoch":
            samples, seconds = samples + line["samples"], seconds + line["seconds"]
        last = max(last, line.get("elapsed", 0.0))
    return {
        "wall_seconds": wall + last,
        "samples": samples,
        "samples_per_second": samples / seconds if seconds else None,
        "restarts": restarts,
    }
