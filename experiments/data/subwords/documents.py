"""Documents: texts of any length in a fixed order, from a folder, the Hugging Face hub, or an installed package."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.data import contents, hub, reviews
from experiments.data.hidden import is_hidden
from experiments.data.text import movie_reviews
from experiments.data.text.lines import no_character, numbered_lines
from experiments.schema.config import DataConfig
from experiments.schema.errors import DataError, UserError

SUFFIXES = (".txt", ".jsonl")
TEXT_COLUMN = "text"
REVIEWS = "imdb_reviews"
# A sentence ends at a full stop, question or exclamation mark before white space, and at the end of a line.
SENTENCE_END = re.compile(r"(?<=[.!?])(?=\s)|(?<=[.!?][\"')])(?=\s)|(?<=\n)")


@dataclass(frozen=True)
class Documents:
    """`read` yields the documents, the same each time; `key` names them before they are read (the contents of files, a
    revision of the hub): what was prepared under another key is prepared again."""

    name: str
    source: str
    key: str
    read: Callable[[], Iterator[str]]


def load(config: DataConfig) -> Documents:
    """The documents of `config`. Raises UserError when they are missing or of no known form."""
    if problem := missing(config):
        raise UserError(problem)
    if config.name == REVIEWS:
        return Documents(
            REVIEWS, movie_reviews.SOURCE, f"{movie_reviews.SHA256} but for {reviews.HELD_OUT}", reviews.not_held_out
        )
    if config.hub:
        return _from_hub(config)
    files = _files(Path(config.root or ""))
    return Documents(config.name, _source(config), _contents(config).digest, lambda: _from_files(files))


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents. Raises UserError when something is missing or cannot be
    read."""
    if problem := missing(config):
        raise UserError(problem)
    if config.name == REVIEWS:
        return contents.identity(REVIEWS, movie_reviews.SOURCE, movie_reviews.SHA256, f"bytes of {movie_reviews.FILE}")
    if config.hub:
        digest, covers = contents.of_tables([_table(config)], [TEXT_COLUMN], config)
        return contents.identity(config.name, _source(config), digest, covers)
    found = _contents(config)
    return contents.identity(config.name, _source(config), found.digest, found.covers)


def missing(config: DataConfig) -> str | None:
    """Say what the user must provide before `load` can work, in one sentence, or None."""
    if config.name == REVIEWS:
        return movie_reviews.missing(config)
    if config.hub:
        return hub.missing(config)
    if not config.root:
        return (
            f"data={config.name} needs text: data.root=FOLDER of .txt files (an empty line ends a document) or .jsonl "
            f'files (one {{"{TEXT_COLUMN}": ...}} a line), or data.hub=REPOSITORY[:CONFIGURATION]'
        )
    if not Path(config.root).is_dir():
        return f"data.root={config.root} is no folder"
    if not _files(Path(config.root)):
        return f"data.root={config.root} holds no {' or '.join(SUFFIXES)} file"
    return None


def sentences(document: str) -> list[str]:
    """The sentences of a document; put together again they are the document."""
    return [piece for piece in SENTENCE_END.split(document) if piece]


def _source(config: DataConfig) -> str:
    if config.hub:
        return f"Hugging Face data set {hub.shown_name(config)}"
    return f"{len(_files(Path(config.root or '')))} text files"


def _contents(config: DataConfig) -> contents.Contents:
    root = Path(config.root or "")
    names = [os.fsencode(file.relative_to(root)) for file in _files(root)]
    return contents.of_files([(root.resolve(), names)], config, named=False)


def _files(root: Path) -> list[Path]:
    found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(map(is_hidden, path.relative_to(root).parts)))


def _from_files(files: list[Path]) -> Iterator[str]:
    for file in files:
        lines = numbered_lines(file, newline=None)
        yield from _lines_of_json(file, lines) if file.suffix.lower() == ".jsonl" else _paragraphs(lines)


def _paragraphs(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Runs of lines between empty ones."""
    document: list[str] = []
    for _, line in lines:
        if line.strip():
            document.append(line)
        elif document:
            yield "".join(document).strip()
            document = []
    if document:
        yield "".join(document).strip()


def _lines_of_json(file: Path, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """The text of each line that is not empty."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            text = json.loads(line)[TEXT_COLUMN].strip()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{file}, line {number}: expected a JSON object with a text {TEXT_COLUMN!r}") from error
        if (half := no_character(text)) is not None:
            raise DataError(f"{file}, line {number}: \\u{ord(half):04x} is half of a surrogate pair and no character")
        if text:
            yield text


def _from_hub(config: DataConfig) -> Documents:
    table = _table(config)

    def read() -> Iterator[str]:
        texts = hub.texts(table, TEXT_COLUMN, f"split train of data.hub={config.hub}")
        return (text.strip() for text in texts if text.strip())

    return Documents(config.name, _source(config), table._fingerprint, read)


def _table(config: DataConfig) -> Any:
    splits = hub.tables(config)
    if "train" not in splits or TEXT_COLUMN not in splits["train"].column_names:
        columns = {name: split.column_names for name, split in splits.items()}
        raise UserError(f"data.hub={config.hub} has {columns}, but needs a split train with a column {TEXT_COLUMN}")
    return splits["train"]
