"""Bundles: many sealed records as one file, `results/bundles/<name>.tar.xz`, which is read in place.

A tar archive of plain files. First `manifest.json`: of every run each file with its size and SHA-256. Then the
record.json of every run, then the rest, `<run>/<file>`, all in order of names, without times or owners, so that equal
records make equal bytes. Records stand first so that who wants no more unpacks no more.

A bundle may come from anybody: nothing of one is trusted. What is not a plain file named in the manifest, of the size
and the digest that it says, and whatever would take more memory than the limits below, makes it a `BadBundle`, before
anything is written anywhere.
"""

from __future__ import annotations

import functools
import io
import json
import lzma
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from experiments.record.atomic import atomic_file
from experiments.record.canonical import sha256
from experiments.schema import paths
from experiments.schema.errors import UserError

SUFFIX = ".tar.xz"
MANIFEST, RECORD = "manifest.json", "record.json"
VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")  # of a run, a file and a bundle: no way out of a folder
MOST_FILES = 100_000
LARGEST_FILE = 64 * 2**20  # bytes
LARGEST_BUNDLE = 2**28  # bytes, unpacked
MOST_MEMORY = 128 * 2**20  # bytes that decompression may take: xz's strongest preset asks for 65 MiB

_DAMAGE = (tarfile.TarError, lzma.LZMAError, EOFError, OSError)
_NO_MANIFEST = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

Files = Mapping[str, bytes]


class BadBundle(UserError):
    """A bundle that is not what one may be."""


def folder(results: Path | None = None) -> Path:
    """Where bundles lie."""
    return (results or paths.RESULTS) / "bundles"


def bundles(results: Path | None = None) -> list[Path]:
    """All bundles of a results folder, in order of their names."""
    return sorted(folder(results).glob(f"*{SUFFIX}"))


def pack(runs: Mapping[str, Files], path: Path) -> None:
    """Write the files of `runs` as the bundle `path`. Raises BadBundle for what no bundle may hold."""
    for run, files in runs.items():
        for name in (run, *files):
            _require(bool(NAME.fullmatch(name)), f"{path.name}: {name!r} is no name for a run or a file of one")
        _require(RECORD in files, f"{path.name}: {run} has no {RECORD}")
    manifest = {
        run: {name: [len(data), sha256(data)] for name, data in sorted(files.items())} for run, files in runs.items()
    }
    head = json.dumps({"bundle_version": VERSION, "runs": dict(sorted(manifest.items()))}, indent=1) + "\n"
    _check_sizes(manifest, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_file(path) as file,
        lzma.open(file, "wb", preset=9) as packed,
        tarfile.open(fileobj=cast(BinaryIO, packed), mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, MANIFEST, head.encode())
        for run in sorted(runs):
            _add(tar, f"{run}/{RECORD}", runs[run][RECORD])
        for run in sorted(runs):
            for name in sorted(runs[run].keys() - {RECORD}):
                _add(tar, f"{run}/{name}", runs[run][name])


def records_of(path: Path) -> dict[str, bytes]:
    """The record.json of every run of a bundle. Unpacks no more than these. Raises BadBundle."""
    return dict(_records(path, _stamp(path)))


def files_of(path: Path) -> dict[str, dict[str, bytes]]:
    """Every file of every run of a bundle, by run and name. Raises BadBundle."""
    return _everything(path, _stamp(path))


@functools.lru_cache(maxsize=64)
def _records(path: Path, stamp: tuple[int, int]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    members = _members(path)
    _, manifest = next(members)
    wanted = len(json.loads(manifest)["runs"])
    for name, data in members if wanted else ():
        run, _, file = name.partition("/")
        _require(file == RECORD, f"{path.name}: {name} stands before all records")
        found[run] = data
        if len(found) == wanted:
            break
    _require(len(found) == wanted, f"{path.name}: records are missing")
    return found


@functools.lru_cache(maxsize=16)
def _everything(path: Path, stamp: tuple[int, int]) -> dict[str, dict[str, bytes]]:
    runs: dict[str, dict[str, bytes]] = {}
    for name, data in _members(path):
        run, _, file = name.partition("/")
        if file:
            runs.setdefault(run, {})[file] = data
    return runs


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every member, the manifest first, each checked against it; at the end none may be missing."""
    try:
        yield from _checked(path)
    except (*_DAMAGE, *_NO_MANIFEST) as error:
        raise BadBundle(f"{path.name} cannot be read: {error}") from error


def _checked(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file, tarfile.open(fileobj=_Unpacked(file, path.name), mode="r|", tarinfo=_Header) as tar:
        expected: dict[str, list[Any]] | None = None
        for member in tar:
            _require(member.isreg(), f"{path.name}: {member.name!r} is no plain file")
            _require(member.size <= LARGEST_FILE, f"{path.name}: {member.name!r} has {member.size:,} bytes")
            if expected is None:
                _require(member.name == MANIFEST, f"{path.name}: {member.name!r} stands before {MANIFEST}")
                data = _content(tar, member)
                expected = _expected(json.loads(data), path.name)
            else:
                entry = expected.pop(member.name, None)
                _require(entry is not None, f"{path.name}: {member.name!r} is not in the manifest, or there twice")
                size, digest = cast("list[Any]", entry)
                _require(member.size == size, f"{path.name}: {member.name} has {member.size:,} bytes, not {size:,}")
                data = _content(tar, member)
                _require(sha256(data) == digest, f"{path.name}: {member.name} was altered: its digest is another")
            yield member.name, data
        _require(expected is not None, f"{path.name}: {MANIFEST} is missing")
        _require(not expected, f"{path.name}: {next(iter(expected or ['']))} is missing")


def _expected(manifest: dict[str, Any], where: str) -> dict[str, list[Any]]:
    """Size and digest of every file, by the name of its member."""
    _require(manifest.get("bundle_version") == VERSION, f"{where}: this code knows bundles of version {VERSION}")
    runs = manifest["runs"]
    _check_sizes(runs, where)
    for run, files in runs.items():
        for name in (run, *files):
            _require(bool(NAME.fullmatch(name)), f"{where}: {name!r} is no name for a run or a file of one")
        _require(RECORD in files, f"{where}: {run} has no {RECORD}")
    return {f"{run}/{name}": entry for run, files in runs.items() for name, entry in files.items()}


def _check_sizes(runs: Mapping[str, Mapping[str, Any]], where: str) -> None:
    sizes = [entry[0] for files in runs.values() for entry in files.values()]
    _require(len(sizes) <= MOST_FILES, f"{where}: {len(sizes):,} files are more than {MOST_FILES:,}")
    _require(all(type(size) is int and 0 <= size <= LARGEST_FILE for size in sizes), f"{where}: a file is too large")
    _require(sum(sizes) <= LARGEST_BUNDLE, f"{where}: {sum(sizes):,} bytes are more than {LARGEST_BUNDLE:,}")


class _Header(tarfile.TarInfo):
    """A member's header that is no extended one: those hold data of any length, which tarfile reads into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        plain = self.type in tarfile.SUPPORTED_TYPES and self.type not in tarfile.GNU_TYPES
        _require(plain, f"{self.name!r} is an extended header, which no bundle has")
        return super()._proc_member(archive)  # type: ignore[misc]


class _Unpacked(io.RawIOBase):
    """What an xz file holds, as a stream that takes no more memory and gives no more bytes than a bundle may have."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name_of_bundle, self.given = file, name, 0
        self.decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer at the end only."""
        _require(0 <= size <= LARGEST_FILE, f"{self.name_of_bundle}: a header that is longer than any file may be")
        parts: list[bytes] = []
        left = size
        while left and not self.decompressor.eof:
            packed = self.file.read(2**16) if self.decompressor.needs_input else b""
            if self.decompressor.needs_input and not packed:
                raise EOFError("it ends too early")
            parts.append(self.decompressor.decompress(packed, left))
            left -= len(parts[-1])
        if self.decompressor.eof and (self.decompressor.unused_data or self.file.read(1)):
            raise ValueError("something follows its end")
        self.given += size - left
        _require(self.given <= LARGEST_BUNDLE + 2**10 * MOST_FILES, f"{self.name_of_bundle}: it unpacks to too much")
        return b"".join(parts)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise BadBundle(f"{path.name} cannot be read: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size


def _require(good: bool, problem: str) -> None:
    if not good:
        raise BadBundle(problem)
