"""Sub-word text for models that read documents: which documents, their tokens, packed sequences, dynamic masks.

A prepared corpus lies in a folder of the cache (`data.cache`, else `paths.CACHE`) that is named by everything it was
made from:

    tokenizer.json         the tokenizer, given or trained on the corpus
    train.tokens, .npy     the stream of tokens and the ends of its sentences (`packing`); the same of held_out
    manifest.json          source, counts, digests of texts and of these files; written last

Files are checked against their digests whenever a corpus is opened, and prepared again where they do not fit: a cache
that was damaged, or made before it had digests.

Importing this package imports no torch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.data.subwords import documents, packing, tokenizer
from experiments.data.subwords.documents import Documents
from experiments.data.subwords.packing import Stream
from experiments.record.atomic import atomic_file, write_atomically, write_json
from experiments.record.canonical import value_digest
from experiments.record.lock import locked
from experiments.schema import paths
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError
from experiments.schema.task_sections import TextConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "held_out")
DOCUMENTS_TO_TRAIN_A_TOKENIZER = 5_000
MANIFEST, DIGEST = "manifest.json", "manifest_digest"
FILES = ("tokenizer.json", *(f"{split}.{suffix}" for split in SPLITS for suffix in ("tokens", "npy")))
FORMAT = 1  # of prepared corpora: another number for another way to make them


class NotAsPrepared(Exception):
    """A file of a prepared corpus is missing or not the one that was written; the message says which."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as tokens; every `text.held_out_every`-th of them is in `held_out`, the others in `train`."""

    tokenizer: Tokenizer
    train: Stream
    held_out: Stream
    manifest: dict[str, Any]


def load(config: DataConfig, text: TextConfig, vocabulary_size: int) -> Corpus:
    """The corpus of `config`, prepared when it is asked for the first time; other processes wait meanwhile. What is
    there and sound is only read, so that its folder may be read-only.

    Raises UserError when documents are missing or too few, the tokenizer is none or of another size, or the corpus
    cannot be written.
    """
    source = documents.load(config)
    given = tokenizer.load(text.tokenizer) if text.tokenizer else None
    if given is not None and given.get_vocab_size() != vocabulary_size:
        raise UserError(
            f"text.tokenizer={text.tokenizer} has {given.get_vocab_size()} entries: "
            f"give model.arguments.vocab_size={given.get_vocab_size()}"
        )
    made_of = [FORMAT, source.key, tokenizer.digest(given) if given else vocabulary_size, text.held_out_every]
    name = sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = Path(config.cache or paths.CACHE) / "corpora" / f"{source.name}-{name}"
    with suppress(NotAsPrepared):
        return _read(folder, vocabulary_size)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock", wait=True):
            try:
                return _read(folder, vocabulary_size)  # another process was faster
            except NotAsPrepared as reason:
                if (folder / MANIFEST).exists():
                    print(f"{folder} is not as it was prepared ({reason}): it is prepared again", flush=True)
            _prepare(folder, source, given, text, vocabulary_size)
            return _read(folder, vocabulary_size)
    except (OSError, NotAsPrepared) as error:
        raise UserError(
            f"data={source.name} cannot be prepared in {folder}: {error}; give data.cache=FOLDER that can be written to"
        ) from error


def _prepare(folder: Path, source: Documents, given: Tokenizer | None, text: TextConfig, vocabulary_size: int) -> None:
    print(f"preparing {source.name} ({source.source}) in {folder}", flush=True)
    split = partial(_split, source.read, text.held_out_every)
    chosen = given or tokenizer.train(islice(split("train"), DOCUMENTS_TO_TRAIN_A_TOKENIZER), vocabulary_size)
    write_atomically(folder / "tokenizer.json", chosen.to_str().encode())
    end = tokenizer.special_ids(chosen)["</s>"]
    facts: dict[str, Any] = {}
    for name in SPLITS:
        with atomic_file(folder / f"{name}.tokens") as file:
            ends, count, digest = packing.write_stream(split(name), chosen, end, file)
        if count == 0:
            raise UserError(
                f"data={source.name} ({source.source}) has no document for {name}: of every {text.held_out_every} "
                "(text.held_out_every) one is held out"
            )
        with atomic_file(folder / f"{name}.npy") as file:
            np.save(file, ends)
        facts[name] = {"documents": count, "sentences": len(ends), "tokens": int(ends[-1]), "digest": digest}
    manifest = {
        "name": source.name,
        "source": source.source,
        "tokenizer": {"digest": tokenizer.digest(chosen), "trained_here": given is None},
        **facts,
        "digest_covers": "texts of all documents in order",
        "prepared": {name: _file_digest(folder / name) for name in FILES},
    }
    write_json(folder / MANIFEST, {**manifest, DIGEST: value_digest(manifest)})


def _split(read: Any, held_out_every: int, split: str) -> Iterator[str]:
    numbered: Iterable[tuple[int, str]] = enumerate(read(), 1)
    return (text for number, text in numbered if (number % held_out_every == 0) == (split == "held_out"))


def _read(folder: Path, vocabulary_size: int) -> Corpus:
    """The corpus prepared in `folder`. Raises NotAsPrepared for a file that is missing or not the one prepared."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest.pop(DIGEST) != value_digest(manifest):
            raise NotAsPrepared(f"{MANIFEST} was altered")
        prepared = manifest["prepared"]
        streams = {}
        for name in SPLITS:
            tokens = packing.map_tokens(folder / f"{name}.tokens", vocabulary_size)
            _require(f"{name}.tokens", tokens.data, prepared)  # what is mapped, also when the file is replaced now
            ends = _require(f"{name}.npy", (folder / f"{name}.npy").read_bytes(), prepared)
            facts = manifest[name]
            streams[name] = Stream(tokens, np.load(io.BytesIO(ends)), facts["documents"], facts["digest"])
        text = _require("tokenizer.json", (folder / "tokenizer.json").read_bytes(), prepared)
    except FileNotFoundError as error:
        raise NotAsPrepared(f"{Path(error.filename).name} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAsPrepared(f"it cannot be read: {error}") from error
    return Corpus(tokenizer.from_text(text.decode()), streams["train"], streams["held_out"], manifest)


def _require(name: str, content: Any, prepared: dict[str, str]) -> Any:
    """`content` of the file `name`, if it is the one prepared."""
    if sha256(content).hexdigest() != prepared[name]:
        raise NotAsPrepared(f"{name} was altered")
    return content


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
