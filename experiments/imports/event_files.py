"""Results in TensorBoard's event files. Needs the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.imports.imported import Imported, read_source, renamed
from experiments.record.canonical import sha256
from experiments.schema.errors import UserError


def tensorboard_run(folder: Path, name: str, columns: Mapping[str, str], about: Mapping[str, Any]) -> Imported:
    """The scalars of an event file, or of a folder of them. `columns` maps tags to metrics of ours (without one each
    tag is taken as it is); a tag's step is the update.

    Raises UserError where there is no event file, for a tag that is not there, and without the package.
    """
    if find_spec("tensorboard") is None:
        raise UserError("event files need the package tensorboard: pip install -e '.[tensorboard]'")
    files = [folder] if folder.is_file() else sorted(folder.glob("events.out.tfevents.*"))
    if not files:
        raise UserError(f"{folder}: there is no event file (events.out.tfevents.*)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 1})
    reader.Reload()
    rows: dict[int, dict[str, Any]] = {}
    for tag in reader.Tags()["scalars"]:
        for one in reader.Scalars(tag):
            rows.setdefault(one.step, {"update": one.step})[tag] = one.value
    tags = dict(columns) or {tag: tag for tag in reader.Tags()["scalars"]}
    ordered = [rows[step] for step in sorted(rows)]
    origin = {"reader": "tensorboard", "source": files[0].name, "sha256": sha256(b"".join(map(_content, files)))}
    return Imported(name, origin, dict(about), renamed(ordered, {"update": "update", **tags}, str(folder)))


def _content(path: Path) -> bytes:
    return read_source(path)[0]
