"""Show a run in W&B or TensorBoard: `python -m experiments.record.mirror RUN_DIR [SECONDS] < /dev/null`.

Follows the event log, the one truth, from its beginning until standard input ends; what came until then is sent,
so the command above replays a whole run. `record.trackers` starts it as a process of its own beside a run: what
fails or hangs here (network, login, service, exit handlers) stays here. With SECONDS it ends itself that long after
its input has ended, so that one whose run was killed does not stay for ever.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from experiments.record.canonical import restore
from experiments.record.run_directory import RunDirectory


class Receiver(Protocol):
    """What shows a run elsewhere, made of its directory. Every process of a run begins with all events of the log."""

    def log(self, update: int, values: dict[str, Any]) -> None:
        """`values` were measured at `update`."""

    def finish(self, summary: dict[str, Any] | None) -> None:
        """No event follows; `summary` has the value of each metric of a sealed run, None where it is not sealed."""


def main(path: Path, seconds: float | None = None) -> None:
    """Mirror the run of directory `path` until standard input ends."""
    directory = RunDirectory(path)
    receiver = receiver_of(directory)
    for event in follow(directory.events_path, standard_input_ended):
        if event["kind"] in ("train", "evaluation"):
            values = {f"{event['kind']}/{key}": value for key, value in event.items() if key not in ("kind", "update")}
            receiver.log(event["update"], values)
    if seconds is not None:
        alarm = threading.Timer(seconds, os._exit, [1])
        alarm.daemon = True
        alarm.start()
    record = directory.record()
    summary = {name: value[value["reported"]] for name, value in restore(record["summary"]).items()} if record else None
    receiver.finish(summary)


def receiver_of(directory: RunDirectory) -> Receiver:
    """The tracker that the run's configuration names; TensorBoard for a run that was made without one."""
    if directory.config().track.name == "wandb":
        from experiments.record import mirrored_wandb

        return mirrored_wandb.Receiver(directory)
    from experiments.record import mirrored_tensorboard

    return mirrored_tensorboard.Receiver(directory)


def follow(path: Path, ended: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Yield the events of a log that another process appends to; stop after those there when `ended` is true.

    `ended` is asked whenever all lines are read, and may wait a moment for its answer.
    """
    with path.open("rb") as file:
        rest, last = b"", False
        while True:
            *lines, rest = (rest + file.read()).split(b"\n")
            for line in lines:
                event = restore(json.loads(line))
                event.pop("hash", None)
                yield event
            if last:
                return
            last = ended()


def standard_input_ended() -> bool:
    """Wait up to a second for the end of standard input."""
    ready, _, _ = select.select([sys.stdin], [], [], 1.0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 4096)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None)
