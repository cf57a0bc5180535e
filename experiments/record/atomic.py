"""Files that are either the old one or the new one, whatever ends the process that writes them.

Write a temporary file beside the target, fsync it, rename it over the target, fsync the folder. Every file of a
run but its two append-only logs is written this way, checkpoints included.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from experiments.record.canonical import plain

# How file systems say that folders cannot be opened or synchronised there.
NOT_FOR_FOLDERS = {errno.EINVAL, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends well; otherwise `path` stays as it was."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace the content of `path` by `data`. Raises OSError (disk full, ...) with the old file intact."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Replace the content of `path` by `value` as indented JSON, keys in their order, non-finite floats as strings."""
    write_atomically(path, (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Make names created, renamed or removed in `folder` survive a power loss, where the file system can (CIFS, vboxsf
    and some of FUSE cannot, and see to it themselves or not at all)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS:
            raise
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of writers that were killed. Only for a folder that nobody else is writing to."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def keep_beside(folder: Path, names: Iterable[str], data: bytes) -> Path:
    """Write `data` in `folder` under the first of `names` that is free; return its path.

    Nothing is overwritten; a file on the way that holds the same bytes already is taken as it is.
    """
    for path in (folder / name for name in names):
        if not path.exists():
            write_atomically(path, data)
            return path
        if path.read_bytes() == data:
            return path
    raise FileExistsError(f"no free name in {folder}")
