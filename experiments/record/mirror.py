"""Show a run in Weights & Biases: `python -m experiments.record.mirror RUN_DIR [SECONDS] < /dev/null`.

Follows the event log, the one truth, from its beginning until standard input ends; what came until then is sent,
so the command above replays a whole run. `record.trackers` starts it as a process of its own beside a run: what
fails or hangs here (network, login, service, exit handlers) stays here. With SECONDS it ends itself that long after
its input has ended, so that one whose run was killed does not stay for ever.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from experiments.record.atomic import write_json
from experiments.record.canonical import restore
from experiments.record.provenance import without_local_paths
from experiments.record.run_directory import RunDirectory


def main(path: Path, seconds: float | None = None) -> None:
    """Mirror the run of directory `path` until standard input ends."""
    import wandb  # here, so that only a mirror needs it

    directory = RunDirectory(path)
    config = directory.config()
    run = wandb.init(
        project=config.track.project,
        id=_identity(directory),
        name=directory.name,
        group=config.exp,
        tags=[config.exp, config.optim["name"], config.scale],
        config=without_local_paths(directory.config_tree()),
        dir=str(directory.path),
        mode=cast(Any, os.environ.get("WANDB_MODE") or config.track.mode),
        resume="allow",
        settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
    )
    shown = run.step  # a resumed run has its first updates already
    for event in follow(directory.events_path, standard_input_ended):
        if event["kind"] in ("train", "evaluation") and event["update"] >= shown:
            values = {f"{event['kind']}/{key}": value for key, value in event.items() if key not in ("kind", "update")}
            run.log(values, step=event["update"])
    if seconds is not None:
        alarm = threading.Timer(seconds, os._exit, [1])
        alarm.daemon = True
        alarm.start()
    record = directory.record()
    if record is not None:
        run.summary.update({name: value[value["reported"]] for name, value in restore(record["summary"]).items()})
    run.finish(exit_code=0 if record is not None else 1)


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


def _identity(directory: RunDirectory) -> str:
    """Id of the run at W&B: the same for every process of this directory, another one on another machine."""
    path = directory.path / "wandb.json"
    if not path.exists():
        write_json(path, {"id": f"{directory.name}-{secrets.token_hex(4)}"})
    return json.loads(path.read_bytes())["id"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None)
