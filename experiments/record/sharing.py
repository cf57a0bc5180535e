"""Make bundles of records, take in those of others, and unpack what a run is to go on from. Nothing is overwritten."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from experiments.record import bundles
from experiments.record.atomic import sync_folder, write_atomically
from experiments.record.bundles import NAME, RECORD, SUFFIX, BadBundle
from experiments.record.published import Published
from experiments.record.verify import verify_files
from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion

# What is published of a run; its checkpoints and locks are not.
KEPT = ("config.json", "events.jsonl", "timing.jsonl", RECORD, "record.partial-*.json")


def pack(name: str, runs: Sequence[Published], target: Path) -> Path:
    """Write `<target>/<name>.tar.xz` with `runs`, each of which is verified first; return its path.

    Raises UserError for a name that is none, one that is taken by other records, and the first record that does not
    verify; BadBundle for what no bundle may hold.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for a bundle: letters, digits, dots, dashes and underlines")
    if not runs:
        raise UserError(f"{name}: no records to pack")
    contents: dict[str, dict[str, bytes]] = {}
    for run in runs:
        if run.name in contents:
            raise UserError(f"{run.place}: a bundle holds one record of a name, and there are two of {run.name}")
        if problems := verify_files(run.read):
            raise UserError(f"{run.place} does not verify, so nothing was packed: {problems[0]}")
        contents[run.name] = {file: run.read(file) for file in files_of(run)}
    path = target / f"{name}{SUFFIX}"
    if path.exists():
        if bundles.files_of(path) == contents:
            return path
        raise UserError(f"{paths.relative(path)} is there and holds other records: choose another name")
    bundles.pack(contents, path)
    return path


def files_of(run: Published) -> list[str]:
    """The names of the files of a run that a bundle keeps."""
    if run.folder is None:
        return sorted(bundles.files_of(run.bundle or Path())[run.name])
    return sorted(path.name for pattern in KEPT for path in run.folder.glob(pattern))


def problems_of(path: Path) -> list[str]:
    """What is wrong with the records of a bundle, each named with its run; empty when all verify. Raises BadBundle for
    a file that is no bundle."""
    found = []
    for run, files in bundles.files_of(path).items():
        found += [f"{run}: {problem}" for problem in verify_files(Published(run, bundle=path).read)]
        found += [f"{run}: {name} is not among what a run has" for name in files if not _is_kept(name)]
    return found


def accept(path: Path, results: Path | None = None) -> Path:
    """Take a bundle of somebody else's into `<results>/bundles`, as it is, under its own name; return its place there.

    Raises BadBundle or UserError, with the reason and nothing written, for one that is no bundle, whose records do not
    verify, and whose name is taken by another.
    """
    name = path.name.removesuffix(SUFFIX)
    if not path.name.endswith(SUFFIX) or not NAME.fullmatch(name):
        raise UserError(f"{path.name!r} is no name for a bundle: it ends in {SUFFIX}")
    content = _read(path)
    if problems := problems_of(path):
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BadBundle(f"{path.name} is refused: {problems[0]}{more}")
    target = bundles.folder(results) / path.name
    if target.exists():
        if target.read_bytes() == content:
            return target
        raise UserError(f"{paths.relative(target)} is there and holds something else: give the new one another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)
    return target


def unpack(path: Path, into: Path, runs: Sequence[str] = ()) -> list[Path]:
    """Write the runs of a bundle (all, or those named) as folders of `into`; return them. One that is there already is
    left as it is.

    Raises BadBundle for a file that is no bundle, UserError for a run that it does not hold.
    """
    contents = bundles.files_of(path)
    for run in runs:
        if run not in contents:
            raise UserError(f"{path.name} holds no run {run}{suggestion(run, list(contents))}")
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for run in runs or contents:
        if (into / run).exists():
            continue
        temporary = into / f".{run}.{secrets.token_hex(6)}.tmp"
        temporary.mkdir()
        try:
            for name, data in contents[run].items():
                write_atomically(temporary / name, data)
            temporary.rename(into / run)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        written.append(into / run)
    sync_folder(into)
    return written


def remove_folders(runs: Sequence[Published], bundle: Path) -> None:
    """Remove the folders of runs whose every published file the bundle holds, byte for byte. Others stay."""
    contents = bundles.files_of(bundle)
    for run in runs:
        if run.folder is not None and contents.get(run.name) == {file: run.read(file) for file in files_of(run)}:
            shutil.rmtree(run.folder)


def _is_kept(name: str) -> bool:
    return any(Path(name).match(pattern) for pattern in KEPT)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > bundles.LARGEST_BUNDLE:
            raise BadBundle(f"{path.name} is larger than any bundle may be")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
