"""A run as Weights & Biases shows it: what `record.mirror` hands each number of the event log to."""

from __future__ import annotations

import json
import os
import secrets
from typing import Any, cast

from experiments.record.atomic import write_json
from experiments.record.provenance import without_local_paths
from experiments.record.run_directory import RunDirectory


class Receiver:
    """One W&B run, begun or gone on with."""

    def __init__(self, directory: RunDirectory) -> None:
        import wandb  # here, so that only a mirror needs it

        config = directory.config()
        self.run = wandb.init(
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
        self.shown = self.run.step  # a resumed run has its first updates already

    def log(self, update: int, values: dict[str, Any]) -> None:
        """Send what one event says, unless a former process did."""
        if update >= self.shown:
            self.run.log(values, step=update)

    def finish(self, summary: dict[str, Any] | None) -> None:
        """No event follows; `summary` has the value of each metric of a sealed run, None where it is not sealed."""
        if summary is not None:
            self.run.summary.update(summary)
        self.run.finish(exit_code=0 if summary is not None else 1)


def _identity(directory: RunDirectory) -> str:
    """Id of the run at W&B: the same for every process of this directory, another one on another machine."""
    path = directory.path / "wandb.json"
    if not path.exists():
        write_json(path, {"id": f"{directory.name}-{secrets.token_hex(4)}"})
    return json.loads(path.read_bytes())["id"]
