"""Cut a large file into parts that travel one after another, and put it together where all have arrived.

Parts are named `NAME.1of3`, and lie in one folder.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import checkout  # noqa: F401

from experiments.record.atomic import atomic_file, write_atomically
from experiments.schema.errors import UserError

PART = re.compile(r"\.(\d+)of(\d+)$")
BLOCK = 1 << 20


def split(file: Path, folder: Path, size: int) -> list[Path]:
    """Write `file` into `folder` in parts of at most `size` bytes. Raises UserError where it cannot be read."""
    if not file.is_file():
        raise UserError(f"--split-data {file}: no such file")
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-file.stat().st_size // size))
    parts = [folder / f"{file.name}.{number}of{count}" for number in range(1, count + 1)]
    with file.open("rb") as source:
        for part in parts:
            write_atomically(part, source.read(size))
    return parts


def missing(folder: Path, name: str) -> list[str]:
    """The parts of the file `name` that have not arrived; empty where it is there, whole or in parts. Raises UserError
    for parts of two ways to cut it."""
    if (folder / name).is_file():
        return []
    places = [_place(part) for part in _parts(folder, name)]
    found, counts = {number for number, _ in places}, {count for _, count in places}
    if len(counts) > 1:
        raise UserError(f"--data {folder}: parts of {name} of {' and '.join(map(str, sorted(counts)))}; keep one set")
    if not counts:
        return [name]
    (count,) = counts
    return [f"{name}.{number}of{count}" for number in range(1, count + 1) if number not in found]


def join(folder: Path, name: str, digest: str | None = None) -> Path:
    """The file `name` of `folder`, put together from its parts, all of which are there, unless it is whole; the parts
    stay. Raises UserError where its SHA-256 is not `digest`: nothing is left of it then."""
    whole = folder / name
    if whole.is_file():
        return whole
    parts, found = sorted(_parts(folder, name), key=_place), sha256()
    with atomic_file(whole) as target:
        for part in parts:
            with part.open("rb") as source:
                while block := source.read(BLOCK):
                    found.update(block)
                    target.write(block)
        if digest is not None and found.hexdigest() != digest:
            raise UserError(
                f"--data {folder}: the {len(parts)} parts of {name} have sha256 {found.hexdigest()} together, expected "
                f"{digest}: one is damaged or of another file"
            )
    return whole


def unpack(archive: Path, names: Sequence[str]) -> None:
    """Write the files `names` of a zip archive beside it, those that are not there yet; nothing where there is no
    archive. Raises UserError for one that is damaged or holds no such file."""
    wanted = [name for name in names if not (archive.parent / name).is_file()]
    if not wanted or not archive.is_file():
        return
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(member).name: member for member in opened.namelist()}
            for name in wanted:
                write_atomically(archive.parent / name, opened.read(members[name]))
    except KeyError as error:
        raise UserError(f"{archive}: holds no {error.args[0]}") from error
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive}: {error}; has all of it arrived?") from error


def _parts(folder: Path, name: str) -> list[Path]:
    return [part for part in folder.glob(f"{name}.*of*") if PART.fullmatch(part.name.removeprefix(name))]


def _place(part: Path) -> tuple[int, int]:
    """Number of the part, and of how many."""
    match = PART.search(part.name)
    assert match is not None
    return int(match[1]), int(match[2])
