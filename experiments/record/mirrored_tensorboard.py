"""A run as TensorBoard shows it: event files under `<run>/tensorboard`, written anew from the log by every mirror.

The log is the truth: where a run was cut back to its checkpoint, or a process was killed, the files of former mirrors
are removed and the whole log is written again, so that no point is there twice, missing or of updates that were undone.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from experiments.record.provenance import without_local_paths
from experiments.record.run_directory import RunDirectory
from experiments.schema.typed import leaves

FOLDER = "tensorboard"


class Receiver:
    """The event file of one run."""

    def __init__(self, directory: RunDirectory) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = directory.path / FOLDER
        folder.mkdir(exist_ok=True)
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
        self.writer = EventFileWriter(str(folder))
        self._write(0, [_text("config", json.dumps(without_local_paths(directory.config_tree()), indent=2))])
        self.settings = {
            key: value if isinstance(value, bool | int | float) else str(value)
            for key, value in leaves(without_local_paths(directory.config_tree()))
            if not key.startswith(("provenance", "metrics", "disagreements", "overrides"))
        }

    def log(self, update: int, values: dict[str, Any]) -> None:
        """Write what one event says."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = {tag: value for tag, value in values.items() if isinstance(value, int | float)}
        self._write(update, [Summary.Value(tag=tag, simple_value=float(number)) for tag, number in numbers.items()])
        self.writer.flush()

    def finish(self, summary: dict[str, Any] | None) -> None:
        """No event follows; `summary` has the value of each metric of a sealed run, None where it is not sealed."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        known = {name: value for name, value in (summary or {}).items() if value is not None and math.isfinite(value)}
        if known:
            self.log(0, {f"result/{name}": value for name, value in known.items()})
        self._write(0, list(hparams_pb(self.settings).value))
        self.writer.close()

    def _write(self, update: int, values: list[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.writer.add_event(Event(step=update, wall_time=time.time(), summary=Summary(value=values)))


def _text(tag: str, text: str) -> Any:
    """A value that the text plugin shows, as code."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    code = "\n".join(f"    {line}" for line in text.splitlines())
    metadata = create_summary_metadata(display_name=tag, description="")
    return Summary.Value(tag=tag, metadata=metadata, tensor=make_tensor_proto([code.encode()]))
