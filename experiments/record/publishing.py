"""The copy of a sealed run in `results/records`, which tables and verdicts are made from.

Whatever is copied was verified just before. Of a run's own files and their copy the one that verifies stays; a damaged
copy is put right, and what it was goes into the run directory as `<run>.damaged-<n>.<file>`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from experiments.record import provenance
from experiments.record.atomic import keep_beside, remove_leftovers, write_atomically
from experiments.record.lock import locked
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import RECORD_VERSION
from experiments.record.verify import verify
from experiments.schema import paths
from experiments.schema.errors import UserError


@dataclass(frozen=True)
class Publication:
    """What became of a copy: the `record` (a file) that verifies, the `folder` under `results/records` that holds it
    (None where none could be written), and what the user should know (empty where all is as it should be)."""

    record: Path
    folder: Path | None
    remark: str = ""


def require_results(results: Path | None = None) -> None:
    """Raise UserError where records could not be published: to be asked before a run trains."""
    records = (results or paths.RESULTS) / "records"
    probe = records / f".{secrets.token_hex(6)}.tmp"
    try:
        records.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"\0" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"sealed records are copied to {records}, which cannot be written ({error.strerror or error}): mend that, "
            "or name another place with ADAN_RESULTS=FOLDER"
        ) from error


def publish(directory: RunDirectory, results: Path | None = None) -> Publication:
    """Copy what is sealed to `<results>/records/<run>/`; do nothing where it is there already.

    Safe to call again for a finished run, and needed when a kill came between sealing and copying. A sound record of
    the same name that was sealed elsewhere (another machine's) stays; this one goes beside it as `<run>-replica2`.
    The record is copied last: a folder without one is an unfinished copy. Where a run has gone on since it was sealed
    nothing is copied, its next record will be. Where the results cannot be written, the remark says so.

    Raises UserError for a run whose own files do not verify, when there is no sound copy of them either.
    """
    records = (results or paths.RESULTS) / "records"
    problems = verify(directory.path)
    if not problems and _has_gone_on(directory):
        return Publication(directory.record_path, records / directory.name)
    if problems:
        return _sound_copy(directory, records, problems)
    try:
        records.mkdir(parents=True, exist_ok=True)
        with locked(directory.path.parent / ".lock", wait=True):
            return _copied(directory, records)
    except OSError as error:
        remark = (
            f"the record of {directory.name} could not be copied to {records} ({error.strerror or error}); it is whole "
            "in its run directory, and the same command copies it once that can be written"
        )
        return Publication(directory.record_path, None, remark)


def _copied(directory: RunDirectory, records: Path) -> Publication:
    folder = _folder_of(directory, records)
    damaged = [] if _is_new(folder) else _problems(folder)
    if not damaged and _was_sealed_before(directory, folder):
        return Publication(directory.record_path, folder)
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder)
    config = provenance.without_local_paths(directory.config_tree())
    own = {"config.json": (json.dumps(config, indent=2) + "\n").encode()}
    earlier = [path for path in sorted(directory.path.glob("record.partial-*.json")) if not verify(path)]
    for path in [directory.events_path, directory.timing_path, *earlier, directory.record_path]:
        if path.exists():
            own[path.name] = path.read_bytes()
    for name, content in own.items():
        target = folder / name
        before = target.read_bytes() if target.exists() else None
        if damaged and before not in (None, content):
            names = (f"{folder.name}.damaged-{number}.{name}" for number in count(1))
            keep_beside(directory.path, names, before)
        if before != content:
            write_atomically(target, content)
    remark = f"the copy in {folder} was damaged ({damaged[0]}) and has been put right" if damaged else ""
    return Publication(directory.record_path, folder, remark)


def _sound_copy(directory: RunDirectory, records: Path, problems: list[str]) -> Publication:
    """The copy of a run whose own files are damaged, left as it is. Raises UserError where it is damaged, too."""
    for folder in _folders(records, directory.name):
        if not (folder / "record.json").exists():
            break
        if not verify(folder):
            remark = (
                f"{directory.path} is damaged ({problems[0]}) and was not published; its copy in {folder} is sound and "
                "stays: what is shown here is the copy's. To mend the run directory, copy those files over its own"
            )
            return Publication(folder / "record.json", folder, remark)
    raise UserError(
        f"{directory.path} is damaged ({problems[0]}) and was not published; no sound copy of it is in {records}. "
        "Put the file back, or train the run again beside it with force=true"
    )


def _has_gone_on(directory: RunDirectory) -> bool:
    """Whether a run has more events than its record, which is not its last, has sealed."""
    record = json.loads(directory.record_path.read_bytes())
    return record["status"] != "finished" and directory.events_path.stat().st_size != record["events"]["bytes"]


def _folder_of(directory: RunDirectory, records: Path) -> Path:
    """Where the copy of a sound run belongs: where it is, damaged or not, or else the first place that no sound record
    of another machine has."""
    own = [directory.record_path, *directory.path.glob("record.partial-*.json")]
    digests = {_digest_in(path) for path in own} - {None}
    folders = []
    for folder in _folders(records, directory.name):
        folders.append(folder)
        if not folder.exists():
            break
    for folder in folders:
        if _digest_in(folder / "record.json") in digests or _was_sealed_before(directory, folder):
            return folder
    return next(folder for folder in folders if _is_new(folder) or _is_damaged(folder))


def _was_sealed_before(directory: RunDirectory, folder: Path) -> bool:
    """Whether a copy is the finished record of this very run, which was since sealed again: it goes on where the copy's
    wall-clock file ends. A finished record is never replaced."""
    try:
        record = json.loads((folder / "record.json").read_bytes())
        own = json.loads(directory.record_path.read_bytes())
        same = record["status"] == "finished" and record["events"] == own["events"]
        earlier, now = (folder / "timing.jsonl").read_bytes(), directory.timing_path.read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return same and now != earlier and now.startswith(earlier)


def _problems(folder: Path) -> list[str]:
    """What is wrong with the record in `folder` and with those that it had before, in this order."""
    found = verify(folder)
    for earlier in sorted(folder.glob("record.partial-*.json")):
        found += verify(earlier)
    return found


def _folders(records: Path, name: str) -> Iterator[Path]:
    return (records / (name if number == 1 else f"{name}-replica{number}") for number in count(1))


def _is_new(folder: Path) -> bool:
    return not (folder / "record.json").exists()


def _is_damaged(folder: Path) -> bool:
    """Whether a copy is not what was sealed; one of a later version of this suite is taken to be sound."""
    try:
        version = json.loads((folder / "record.json").read_bytes())["record_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return version == RECORD_VERSION and bool(_problems(folder))


def _digest_in(record: Path) -> str | None:
    try:
        return json.loads(record.read_bytes())["record_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
