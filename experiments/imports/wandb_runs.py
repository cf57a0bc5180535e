"""Results in Weights & Biases: a run's offline folder, read without a network, and a run online through the API.

An offline run is a file of records in LevelDB's log format (github.com/google/leveldb, doc/log_format.md) behind seven
bytes of a header; each record is a message of wandb's own protocol, whose classes the package carries.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.imports.imported import Imported, read_source, renamed
from experiments.schema.errors import UserError

MAGIC = b":W&B"
HEADER, BLOCK = 7, 32768
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
OWN = ("_step", "_runtime", "_timestamp", "_wandb")
SECONDS = 30
CONFIG = {"lr": "lr", "learning_rate": "lr", "weight_decay": "weight_decay", "batch_size": "batch_size"}
CONFIG |= {"epochs": "epochs", "seed": "seed", "optimizer": "optimizer", "opt": "optimizer", "model": "experiment"}


def offline_run(folder: Path, name: str, columns: Mapping[str, str], about: Mapping[str, Any]) -> Imported:
    """The run of an offline folder (`wandb/offline-run-...`), or of its .wandb file.

    Raises UserError where there is no such file, or it is cut short or of another format.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("*.wandb"))
    if len(files) != 1:
        raise UserError(f"{folder}: expected one .wandb file, found {len(files)}")
    content, origin = read_source(files[0])
    config: dict[str, Any] = {}
    rows = []
    for record in _records(content, files[0]):
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            updates = record.run.config.update if kind == "run" else record.config.update
            config |= {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in updates}
        elif kind == "history":
            rows.append(
                {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in record.history.item}
            )
    return _imported(name, {"reader": "wandb offline", **origin}, config, rows, columns, about, str(folder))


def online_run(path: str, name: str, columns: Mapping[str, str], about: Mapping[str, Any]) -> Imported:
    """The run `entity/project/run` at W&B (or at WANDB_BASE_URL), through its public API.

    Raises UserError for a path that names no run, without an account's key (WANDB_API_KEY), and where the service does
    not answer in time.
    """
    if path.count("/") != 2:
        raise UserError(f"{path}: a run at W&B is named ENTITY/PROJECT/RUN")
    import wandb
    from wandb.errors import Error

    if not (os.environ.get("WANDB_API_KEY") or (Path.home() / ".netrc").exists()):
        raise UserError(f"{path}: no key for W&B: set WANDB_API_KEY, or log in once with `wandb login`")
    try:
        run = wandb.Api(timeout=SECONDS).run(path)
        rows, config = list(run.scan_history()), dict(run.config)
    except (Error, ValueError, OSError) as error:
        raise UserError(f"{path}: W&B does not answer: {error}") from error
    origin = {"reader": "wandb", "source": getattr(run, "url", None) or path}
    return _imported(name, origin, config, rows, columns, about, path)


def _imported(
    name: str,
    origin: dict[str, str],
    config: Mapping[str, Any],
    rows: list[dict[str, Any]],
    columns: Mapping[str, str],
    about: Mapping[str, Any],
    where: str,
) -> Imported:
    known = {
        ours: config[theirs] for theirs, ours in CONFIG.items() if isinstance(config.get(theirs), int | float | str)
    }
    keys = dict.fromkeys(key for row in rows for key in row if key not in OWN)
    names = dict(columns) or {key: key for key in keys}
    return Imported(name, origin, {**known, **about}, renamed(rows, {"_step": "update", **names}, where))


def _records(content: bytes, path: Path) -> Iterator[Any]:
    """The messages of a .wandb file."""
    from wandb.proto import wandb_internal_pb2  # its classes are made at import, unknown to type checkers

    if content[:4] != MAGIC:
        raise UserError(f"{path} is no file of an offline W&B run")
    try:
        for payload in _payloads(content):
            record = vars(wandb_internal_pb2)["Record"]()
            record.ParseFromString(payload)
            yield record
    except Exception as error:  # protobuf's errors have no common class of their own
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged: {error}") from error


def _payloads(content: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log, put together from their parts. A last one that was cut short is left out."""
    place, parts = HEADER, b""
    while place + 7 <= len(content):
        room = BLOCK - place % BLOCK
        if room < 7:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        data = content[place + 7 : place + 7 + length]
        if len(data) < length or kind not in (WHOLE, FIRST, MIDDLE, LAST):
            return
        parts = data if kind in (WHOLE, FIRST) else parts + data
        place += 7 + length
        if kind in (WHOLE, LAST):
            yield parts
