"""Copy sealed records to `results/records`, the sound one over the damaged one and never the other way.

Both sides are verified before anything is copied. A run and its published copy are told apart from a replica (the
same run sealed on another machine) by the digest of the record.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from experiments.record import provenance
from experiments.record.atomic import remove_leftovers, write_atomically
from experiments.record.canonical import value_digest
from experiments.record.lock import locked
from experiments.record.published import bundle_with
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema import paths
from experiments.schema.errors import UserError

RECORD = "record.json"
PARTIAL_RECORDS = "record.partial-*.json"


@dataclass(frozen=True)
class Publication:
    """Tells what became of a run: the `record` that verifies and so stands for the run, the `folder` of the published
    copy (None where there is none), and sentences that the user should read, mostly none."""

    record: Path
    folder: Path | None
    notices: tuple[str, ...] = ()


def publish(directory: RunDirectory, results: Path | None = None) -> Publication:
    """Copy what is sealed to `<results>/records/<run>/`; do nothing where it is there already. Safe to call again.

    A record that does not verify is never copied: its published copy, where that does, stands for it. A published copy
    that does not verify is written again from a sound run. A sound record of the same name that was sealed elsewhere
    (another machine's) stays; this one goes beside it as `<run>-replica2`. The record is copied last: a folder without
    one is an unfinished copy. Where a run has gone on since it was sealed nothing is copied, its next record will be;
    nor is a record that a bundle holds.

    A folder that cannot be written leaves the run as it is: a notice says so. Raises UserError for a record that does
    not verify and has no sound copy; nothing is changed then.
    """
    records = (results or paths.RESULTS) / "records"
    if problems := verify(directory.record_path):
        return _stand_in(directory, records, problems[0])
    record = json.loads(directory.record_path.read_bytes())
    if bundle_with(directory.name, record["record_digest"], results):
        return Publication(directory.record_path, None)
    if record["status"] != "finished" and directory.events_path.stat().st_size != record["events"]["bytes"]:
        return Publication(directory.record_path, None)
    try:
        with locked(directory.path.parent / ".lock", wait=True):
            return _copy(directory, records)
    except OSError as error:
        said = f"{error.filename or records}: {error.strerror or error}"
        notice = (
            f"the record of {directory.name} is sealed but could not be copied to {paths.relative(records)} ({said}); "
            "it stands in the run's directory, and the same command again copies it once that is mended"
        )
        return Publication(directory.record_path, None, (notice,))


def sound_copy(directory: RunDirectory, results: Path | None = None) -> Path | None:
    """The published record.json that verifies and says what this run reached, whatever became of the run's own: the one
    that was sealed here, as far as that can still be read, else one that says how the run ended."""
    own = _read(directory.record_path) or b""
    for folder in sorted(
        (folder for folder in _existing((results or paths.RESULTS) / "records", directory.name) if not verify(folder)),
        key=lambda folder: not _names(own, folder),
    ):
        if _names(own, folder) or json.loads((folder / RECORD).read_bytes())["status"] != "partial":
            return folder / RECORD
    return None


def refusal(results: Path | None = None) -> str | None:
    """Why nothing can be published, in one sentence, or None. Found by writing a file there and removing it."""
    records = (results or paths.RESULTS) / "records"
    probe = records / f".probe-{secrets.token_hex(6)}.tmp"
    try:
        records.mkdir(parents=True, exist_ok=True)
        try:
            write_atomically(probe, b"?" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return (
            f"records cannot be written to {records}: {error.strerror or error}; mend that, or name another folder by "
            "ADAN_RESULTS=FOLDER in the environment"
        )
    return None


def _stand_in(directory: RunDirectory, records: Path, problem: str) -> Publication:
    """The sound copy of a run whose own record does not verify."""
    copy = sound_copy(directory, records.parent)
    if copy is None:
        published = [f"{folder.name} ({verify(folder)[0]})" for folder in _existing(records, directory.name)]
        there = f"neither does the published copy {', '.join(published)}" if published else "no copy was published"
        raise UserError(
            f"the record of {directory.path} does not verify ({problem}), and {there}: nothing was changed. Put the "
            "files back from a backup, or move the run directory away to start the run again"
        )
    here = directory.path
    notice = (
        f"the record of {here} does not verify ({problem}); its published copy does, and is what counts. "
        f"To restore the run: cp {shlex.quote(str(copy.parent))}/* {shlex.quote(str(here))}"
    )
    return Publication(copy, copy.parent, (notice,))


def _copy(directory: RunDirectory, records: Path) -> Publication:
    """Make the published copy equal to the run, whose record verifies."""
    records.mkdir(parents=True, exist_ok=True)
    partials = sorted(directory.path.glob(PARTIAL_RECORDS))
    digests = {_digest(path) for path in (directory.record_path, *partials)} - {None}
    folder = _own_folder(records, directory, digests)
    config = provenance.without_local_paths(directory.config_tree())
    content = {"config.json": (json.dumps(config, indent=2) + "\n").encode()}
    for path in (directory.events_path, directory.timing_path):
        if path.exists():
            content[path.name] = path.read_bytes()
    notices = []
    for path in partials:
        if problems := verify(path):
            notices.append(f"{path} is not copied, for it does not verify: {problems[0]}")
        else:
            content[path.name] = path.read_bytes()
    content[RECORD] = directory.record_path.read_bytes()
    stale = {name: data for name, data in content.items() if _read(folder / name) != data}
    if stale and (folder / RECORD).exists():
        damage = [
            problem for path in (folder / RECORD, *sorted(folder.glob(PARTIAL_RECORDS))) for problem in verify(path)
        ]
        if damage:
            notices.append(f"{paths.relative(folder)} was damaged ({damage[0]}) and is written again from the run")
    if stale:
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
    for name, data in stale.items():
        write_atomically(folder / name, data)
    return Publication(directory.record_path, folder, tuple(notices))


def _own_folder(records: Path, directory: RunDirectory, own: set[str | None]) -> Path:
    """Where the run with records of these digests is published, else the first place that no sound record of another
    has."""
    for folder in _existing(records, directory.name):
        if _digest(folder / RECORD) in own or _sealed_here(folder, directory):
            return folder
    return next(folder for folder in _folders(records, directory.name) if _digest(folder / RECORD) is None)


def _sealed_here(folder: Path, directory: RunDirectory) -> bool:
    """Whether a published copy is of this very run, though its record was lost here and sealed anew: the clock times of
    the one are the first of the other."""
    there, here = _read(folder / "timing.jsonl"), _read(directory.timing_path)
    return bool(there and here and here.startswith(there))


def _digest(path: Path) -> str | None:
    """The digest of a record that fits it; None where there is no record or it was damaged."""
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        digest = record.pop("record_digest")
        return digest if value_digest(record) == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _names(own: bytes, folder: Path) -> bool:
    """Whether what is left of a record names the digest of the one published in `folder`."""
    return (_digest(folder / RECORD) or "?" * 64).encode() in own


def _existing(records: Path, name: str) -> Iterator[Path]:
    for folder in _folders(records, name):
        if not folder.is_dir():
            return
        yield folder


def _folders(records: Path, name: str) -> Iterator[Path]:
    return (records / (name if number == 1 else f"{name}-replica{number}") for number in count(1))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
