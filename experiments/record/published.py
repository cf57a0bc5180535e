"""All sealed records of a results folder: the folders of `records` and what `bundles` hold, as one list.

Equal records count once, whatever they lie in. Of a run that was sealed twice (a replica of another machine) both
stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.record import bundles
from experiments.schema import paths

RECORD, EVENTS = "record.json", "events.jsonl"


@dataclass(frozen=True)
class Published:
    """One sealed run: its `folder`, or the `bundle` that holds it under `name`; `place` is for messages."""

    name: str
    folder: Path | None = None
    bundle: Path | None = None

    @property
    def place(self) -> str:
        """Where the record lies, as a user can name it."""
        if self.folder is not None:
            return paths.relative(self.folder / RECORD)
        return f"{paths.relative(self.bundle or Path())}: {self.name}/{RECORD}"

    def record(self) -> bytes:
        """The record.json. Raises OSError, or BadBundle."""
        if self.folder is not None:
            return (self.folder / RECORD).read_bytes()
        return bundles.records_of(self.bundle or Path())[self.name]

    def read(self, file: str) -> bytes:
        """Another file of the run. Raises FileNotFoundError where it has none of that name, or BadBundle."""
        if self.folder is not None:
            return (self.folder / file).read_bytes()
        files = bundles.files_of(self.bundle or Path())[self.name]
        if file not in files:
            raise FileNotFoundError(2, "No such file", file)
        return files[file]


def published(results: Path | None = None) -> list[Published]:
    """Every sealed run of a results folder, ordered by name, folders before bundles. Raises BadBundle."""
    results = results or paths.RESULTS
    found = [Published(path.parent.name, folder=path.parent) for path in (results / "records").glob(f"*/{RECORD}")]
    digests = {(one.name, _digest(one.record())) for one in found} if bundles.bundles(results) else set()
    for path in bundles.bundles(results):
        for run, record in bundles.records_of(path).items():
            if (run, _digest(record)) not in digests:
                digests.add((run, _digest(record)))
                found.append(Published(run, bundle=path))
    return sorted(found, key=lambda one: (one.name, one.bundle is not None, str(one.bundle)))


def copies(run: str, results: Path | None = None) -> Iterator[Published]:
    """What is published of a run: itself, its later attempts and its replicas."""
    results = results or paths.RESULTS
    for path in sorted((results / "records").glob(f"{run}*/{RECORD}")):
        yield Published(path.parent.name, folder=path.parent)
    for path in bundles.bundles(results):
        yield from (Published(name, bundle=path) for name in sorted(bundles.records_of(path)) if name.startswith(run))


def bundle_with(run: str, digest: str, results: Path | None = None) -> Path | None:
    """The bundle that holds the record of `run` with this digest."""
    for path in bundles.bundles(results):
        record = bundles.records_of(path).get(run)
        if record is not None and _digest(record) == digest:
            return path
    return None


def _digest(record: bytes) -> Any:
    try:
        return json.loads(record)["record_digest"]
    except (ValueError, KeyError, TypeError):
        return None
