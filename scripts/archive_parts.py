"""Cut a large file into parts that travel one after another, and put it together where all have arrived.

Parts are named `NAME.1of3`, and lie in one folder.
"""

from __future__ import annotations

import re
import shutil
from hashlib import sha256
from pathlib import Path

import checkout  # noqa: F401

from experiments.schema.errors import UserError

PART = re.compile(r"\.(\d+)of(\d+)$")


def split(file: Path, folder: Path, size: int) -> list[Path]:
    """Write `file` into `folder` in parts of at most `size` bytes. Raises UserError where it cannot be read."""
    if not file.is_file():
        raise UserError(f"--split-data {file}: no such file")
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-file.stat().st_size // size))
    parts = [folder / f"{file.name}.{number}of{count}" for number in range(1, count + 1)]
    with file.open("rb") as source:
        for part in parts:
            part.write_bytes(source.read(size))
    return parts


def missing(folder: Path, name: str) -> list[str]:
    """The parts of the file `name` that have not arrived; empty where it is there, whole or in parts. Raises UserError
    for parts of two ways to cut it."""
    if (folder / name).is_file():
        return []
    found = {int(PART.search(part.name)[1]): part for part in _parts(folder, name)}  # type: ignore[index]
    counts = {int(PART.search(part.name)[2]) for part in found.values()}  # type: ignore[index]
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
    parts = sorted(_parts(folder, name), key=lambda part: int(PART.search(part.name)[1]))  # type: ignore[index]
    unfinished, found = folder / f"{name}.joining", sha256()
    try:
        with unfinished.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
                found.update(part.read_bytes())
        if digest is not None and found.hexdigest() != digest:
            raise UserError(
                f"--data {folder}: the {len(parts)} parts of {name} have sha256 {found.hexdigest()} together, expected "
                f"{digest}: one is damaged or of another file"
            )
        unfinished.replace(whole)
    finally:
        unfinished.unlink(missing_ok=True)
    return whole


def _parts(folder: Path, name: str) -> list[Path]:
    return [part for part in folder.glob(f"{name}.*of*") if PART.fullmatch(part.name.removeprefix(name))]
