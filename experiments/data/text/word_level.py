"""Penn Treebank and WikiText as published for language models: words apart, rare ones `<unk>`, a text a file.

A folder (`data.root`) or a repository of the Hugging Face hub (`data.hub`) gives the same lines. Where the digest of a
file is known, the text must have it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.data import contents, hub
from experiments.data.text.corpus import SPLITS, Corpus, encode
from experiments.data.text.lines import numbered_lines
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError


@dataclass(frozen=True)
class Published:
    """Holds what is known of a corpus. `files` are the names a split's file may have; `digests` are those of its lines,
    each written as `line`, by the function `hash`."""

    files: tuple[str, ...]
    hub: str
    line: str
    hash: str
    digests: dict[str, str]


CORPORA = {
    "ptb": Published(
        files=("ptb.{split}.txt",),
        hub="ptb-text-only/ptb_text_only",
        line=" {} \n",  # so the digests are those of the files as Mikolov published them
        hash="md5",
        digests={
            "train": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
            "valid": "aa0affc06ff7c36e977d7cd49e3839bf",
            "test": "8b80168b89c18661a38ef683c0dc3721",
        },
    ),
    "wikitext2": Published(
        files=("wiki.{split}.tokens", "{split}.txt"),
        hub="Salesforce/wikitext:wikitext-2-v1",
        line="{}\n",
        hash="sha256",
        digests={
            "train": "f7ee69acf5cc3fd2321929d3e32dd6defd8199abe0cb95063b2b9f092584f96f",
            "valid": "4427e8fc24d5ceaaff4f1d9ee42f4e82172572b107d6a4e1f32d84fa7913c3ff",
            "test": "f68796e87c3250872a5a82da5027c4f75494ca617fbad67e36acce8a057ff3e8",
        },
    ),
    "wikitext103": Published(  # its training text is known by its size alone
        files=("wiki.{split}.tokens", "{split}.txt"),
        hub="Salesforce/wikitext:wikitext-103-v1",
        line="{}\n",
        hash="sha256",
        digests={
            "valid": "4427e8fc24d5ceaaff4f1d9ee42f4e82172572b107d6a4e1f32d84fa7913c3ff",
            "test": "f68796e87c3250872a5a82da5027c4f75494ca617fbad67e36acce8a057ff3e8",
        },
    ),
}


def load(config: DataConfig) -> Corpus:
    """Read all three texts. Raises UserError for a missing or unreadable one and for one of another digest."""
    known = CORPORA[config.name]
    if config.hub:
        table = hub.tables(config)
        lines = {split: _rows(table, split, config) for split in SPLITS}
    else:
        files = _files(config)
        lines = {split: _lines(files[split]) for split in SPLITS}  # type: ignore[arg-type]
    place = _source(config)
    texts = {split: _verified(lines[split], known, split, f"{config.name}: {place}") for split in SPLITS}
    return encode(config.name, place, texts)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents; of a corpus whose digests are all known, those: it is held to
    them."""
    known, files = CORPORA[config.name], [path for path in _files(config).values() if path is not None]
    source = _source(config)
    if known.digests.keys() == set(SPLITS):
        return contents.identity(config.name, source, "-".join(known.digests.values()), "published texts")
    if config.hub:
        table = hub.tables(config)
        texts = [_table(table, split, config) for split in SPLITS]
        digest, covers = contents.of_tables([rows for rows, _ in texts], [texts[0][1]], config)
        return contents.identity(config.name, source, digest, covers)
    found = contents.of_files([(path.parent, [os.fsencode(path.name)]) for path in files], config, named=False)
    return contents.identity(config.name, source, found.digest, found.covers)


def missing(config: DataConfig) -> str | None:
    """Say what is not there, or return None."""
    known = CORPORA[config.name]
    if config.hub:
        return hub.missing(config)
    names = " or ".join(file.format(split="{train,valid,test}") for file in known.files)
    if not config.root:
        return f"data={config.name} needs a place to read from: data.root=FOLDER with {names}, or data.hub={known.hub}"
    if not Path(config.root).is_dir():
        return f"data.root={config.root} is not a directory; data={config.name} needs one with {names}"
    absent = [split for split, path in _files(config).items() if path is None]
    if absent:
        return f"data.root={config.root} has no {absent[0]} text; data={config.name} needs {names} in it"
    return None


def _files(config: DataConfig) -> dict[str, Path | None]:
    root = Path(config.root or "")
    candidates = {split: [root / name.format(split=split) for name in CORPORA[config.name].files] for split in SPLITS}
    return {split: next((path for path in paths if path.is_file()), None) for split, paths in candidates.items()}


def _lines(path: Path) -> Iterator[list[str]]:
    """The words of each line. Only a newline ends one: the texts hold other separators of Unicode's."""
    return (line.split() for _, line in numbered_lines(path))


def _source(config: DataConfig) -> str:
    return f"Hugging Face data set {hub.shown_name(config)}" if config.hub else f"folder {Path(config.root or '').name}"


def _rows(table: Any, split: str, config: DataConfig) -> Iterator[list[str]]:
    """The same of a table of the hub, one line a row."""
    rows, column = _table(table, split, config)
    return (text.split() for text in hub.texts(rows, column, f"split {split} of data.hub={config.hub}"))


def _table(table: Any, split: str, config: DataConfig) -> tuple[Any, str]:
    """The rows of a split, and their column of text."""
    names = [name for name in (split, "validation" if split == "valid" else split) if name in table]
    if not names:
        raise UserError(f"data.hub={config.hub} has splits {sorted(table)}, but needs {split}")
    rows = table[names[0]]
    texts = [name for name, kind in rows.features.items() if getattr(kind, "dtype", None) == "string"]
    if len(texts) != 1:
        raise UserError(f"data.hub={config.hub} has columns {sorted(rows.features)}, but needs one of text")
    return rows, texts[0]


def _verified(lines: Iterator[list[str]], known: Published, split: str, where: str) -> Iterator[list[str]]:
    """`lines` as they are; after the last, raises UserError where their digest is not the known one."""
    digest = hashlib.new(known.hash, usedforsecurity=False)
    for words in lines:
        digest.update(known.line.format(" ".join(words)).encode())
        yield words
    expected = known.digests.get(split)
    if expected and digest.hexdigest() != expected:
        raise UserError(
            f"{where}: the {split} text has {known.hash} {digest.hexdigest()}, expected {expected}: another version of "
            "the data set, or a damaged copy"
        )
