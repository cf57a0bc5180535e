"""Lines of text files, and what is no text named by its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from experiments.schema.errors import DataError


def numbered_lines(path: Path, newline: str | None = "\n") -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line of a file in UTF-8, without a byte-order mark. A line ends with `newline`;
    None: with whatever ends a line anywhere, which becomes a newline.

    Raises DataError for a file that cannot be read, and for bytes that are no text, naming the line.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as file:
            for number, line in enumerate(file, 1):
                if (wrong := no_character(line)) is not None:
                    byte = ord(wrong) - 0xDC00  # as surrogateescape writes it
                    raise DataError(f"{path}, line {number}: no text in UTF-8, it has the byte 0x{byte:02x}")
                yield number, line
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def no_character(text: str) -> str | None:
    """The first half of a surrogate pair that stands alone, which no encoding can write, or None."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return text[error.start]
    return None
