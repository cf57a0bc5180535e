"""Put what data hold into one digest before a run begins: the same bytes under another roof are the same data.

Of up to `ALL_UP_TO` bytes every one is read; of more the contents of `SAMPLED` files or rows of each split, evenly
spaced, and the names and sizes of all. The digest of what was read once is kept in the cache (`data.cache`, else
`paths.CACHE`) under the name of everything that would change if a file did: paths, sizes and times, so that to know
the files again costs a look at each of them, not at their contents.

Importing this module imports no torch.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from experiments.record.atomic import write_atomically
from experiments.schema import paths
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

ALL_UP_TO = 1 << 30  # bytes
SAMPLED = 1024
FILES_AT_A_TIME, READERS = 256, 8  # readers that wait for a file server's answers at the same time
FILES_WORTH_A_WORD = 4096
# A file that was written a moment ago may be written again without another time on it: clocks of files stand still for
# some milliseconds, on some file systems for two seconds.
SECONDS_TO_SETTLE = 3


def identity(name: str, source: str, digest: str, covers: str, loaded: dict[str, str] | None = None) -> dict[str, Any]:
    """The description of data that `experiments.record.same_data` compares; `loaded` where that is known already."""
    known = {"name": name, "source": source, "digest": digest, "digest_covers": covers}
    return {**known, "loaded": loaded} if loaded else known


@dataclass(frozen=True)
class Contents:
    """`digest` is of what `covers` says; `listing` of the names and sizes of all files, as `FileImages` gives them."""

    digest: str
    covers: str
    listing: str


def of_files(
    splits: Sequence[tuple[Path, Sequence[bytes] | np.ndarray]], config: DataConfig, named: bool = True
) -> Contents:
    """Contents of the files of each split: a folder and their paths in it. Without `named` their names do not count,
    as where they only say which text is which, and none is left out.

    Raises UserError, naming the file, where one cannot be read.
    """
    listing, seen = sha256(), Seen()
    for folder, names in splits:
        listing.update(b"%d\n" % len(names))
        for name, path in zip(names, _paths(folder, names), strict=True):
            listing.update(b"%s %d\n" % (name, seen.look_at(path)))
    whole = not named or seen.bytes <= ALL_UP_TO
    read = [path for folder, names in splits for path in _paths(folder, names if whole else _sample(names))]

    def digest() -> str:
        found = sha256(listing.digest() if named else b"")
        if len(read) >= FILES_WORTH_A_WORD:
            print(f"reading {len(read):,} files under {splits[0][0].parent}, to know them again", file=sys.stderr)
        batches = [read[start : start + FILES_AT_A_TIME] for start in range(0, len(read), FILES_AT_A_TIME)]
        with ThreadPoolExecutor(READERS) as readers:
            for of_batch in readers.map(lambda batch: [_digest_of_file(path) for path in batch], batches):
                found.update(b"".join(of_batch))
        return found.hexdigest()

    what = "all files" if whole else f"{SAMPLED:,} evenly spaced files of each split"
    covers = f"names and sizes of all files, contents of {what}" if named else "contents of all files in order"
    return Contents(_remembered(seen, covers, config, digest), covers, listing.hexdigest())


def of_tables(tables: Sequence[Any], columns: Sequence[str], config: DataConfig) -> tuple[str, str]:
    """Digest of these columns of tables of the `datasets` library, a table a split, and what it covers. Texts and
    numbers are read whole."""
    import datasets

    images = [column for column in columns if isinstance(tables[0].features[column], datasets.Image)]
    whole = not images or sum(table.data.nbytes for table in tables) <= ALL_UP_TO

    def digest() -> str:
        found = sha256()
        for table in tables:
            found.update(b"%d\n" % len(table))
            for column in columns:
                values = _encoded_images(table, column, whole) if column in images else _values(table, column)
                for value in values:
                    found.update(value)
        return found.hexdigest()

    rows = "all rows" if whole else f"{SAMPLED:,} evenly spaced rows of each split"
    others = [column for column in columns if column not in images]
    covers = f"{' and '.join(others)} of all rows" + (f", encoded images of {rows}" if images else "")
    seen = Seen()
    for file in (file for table in tables for file in table.cache_files):
        seen.look_at(os.fsencode(file["filename"]))
    if not seen.bytes:  # nothing lies on disk by which the tables would be known again
        return digest(), covers
    which = [covers, *((table._fingerprint, len(table)) for table in tables)]
    return _remembered(seen, repr(which), config, digest), covers


class Seen:
    """Sums up what `stat` says of files: their `bytes` in all, the `newest` of their times in nanoseconds, and in the
    SHA-256 `of_all` everything that would not be the same if one of them changed."""

    def __init__(self) -> None:
        self.bytes = self.newest = 0
        self.of_all = sha256()

    def look_at(self, path: bytes) -> int:
        """Take one more file into account; return its size."""
        try:
            found = os.stat(path)  # a million of them  # noqa: PTH116
        except OSError as error:
            raise UserError(f"cannot read {os.fsdecode(path)}: {error.strerror or error}") from error
        self.bytes += found.st_size
        self.newest = max(self.newest, found.st_mtime_ns, found.st_ctime_ns)
        self.of_all.update(b"%s\0%d %d %d\n" % (path, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
        return found.st_size


def _sample(names: Sequence[bytes] | np.ndarray) -> list[bytes]:
    """At most `SAMPLED` of them, the first and the last among them."""
    return [names[index] for index in evenly_spaced(len(names))]


def evenly_spaced(count: int) -> list[int]:
    """At most `SAMPLED` of `count` places, the first and the last among them."""
    if count <= SAMPLED:
        return list(range(count))
    return [place * (count - 1) // (SAMPLED - 1) for place in range(SAMPLED)]


def _paths(folder: Path, names: Iterable[bytes]) -> Iterator[bytes]:
    root = os.fsencode(folder.absolute())
    return (os.path.join(root, name) for name in names)  # a million of them  # noqa: PTH118


def _digest_of_file(path: bytes) -> bytes:
    digest = sha256()
    try:
        with open(path, "rb", buffering=0) as file:  # a million of them  # noqa: PTH123
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"cannot read {os.fsdecode(path)}: {error.strerror or error}") from error
    return digest.digest()


def _encoded_images(table: Any, column: str, whole: bool) -> Iterator[bytes]:
    """The files of images as the table holds them, or names them."""
    import datasets

    rows = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    for index in range(len(rows)) if whole else evenly_spaced(len(rows)):
        image = rows[index][column] or {}
        content = image.get("bytes")
        if content is not None:
            yield sha256(content).digest()
        else:
            yield _digest_of_file(os.fsencode(image["path"])) if image.get("path") else b"none"


def _values(table: Any, column: str) -> Iterator[bytes]:
    """Bytes of a column of texts or numbers, however the library has cut it into chunks."""
    import pyarrow as pa

    chunks = (table.flatten_indices() if table._indices is not None else table).data.column(column).chunks
    if not chunks or not (pa.types.is_string(chunks[0].type) or pa.types.is_large_string(chunks[0].type)):
        yield repr([value for chunk in chunks for value in chunk.to_pylist()]).encode()
        return
    lengths, texts = sha256(), sha256()
    for chunk in chunks:
        binary = chunk.cast(pa.large_binary()).fill_null(b"")
        _, ends, content = binary.buffers()
        ends = np.frombuffer(ends, np.int64)[binary.offset : binary.offset + len(binary) + 1]
        lengths.update(np.diff(ends).tobytes())
        if content is not None:
            texts.update(memoryview(content)[ends[0] : ends[-1]])
    yield lengths.digest() + texts.digest()


def _remembered(seen: Seen, which: str, config: DataConfig, digest: Callable[[], str]) -> str:
    """`digest()`, or what it was for these files as they are, and for `which` of all digests of them. What is kept
    carries a digest of its own: it is either right or found again; where nothing can be kept it is found every time."""
    name = sha256(f"{seen.of_all.hexdigest()} {which}".encode()).hexdigest()
    place = Path(config.cache or paths.CACHE) / "digests" / name
    with suppress(OSError, ValueError):
        kept, check = place.read_text("ascii").split()
        if check == _check(name, kept):
            return kept
    settled = seen.newest < time.time_ns() - SECONDS_TO_SETTLE * 10**9
    found_now = digest()
    if settled:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, f"{found_now} {_check(name, found_now)}\n".encode())
    return found_now


def _check(name: str, digest: str) -> str:
    return sha256(f"{name} {digest}".encode()).hexdigest()
