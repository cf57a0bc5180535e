"""Three texts over one vocabulary, and how lines of words become token ids."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from experiments.schema.errors import UserError

END = "<eos>"
UNKNOWN = "<unk>"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Token ids int32 [tokens] of each split; every line of the text ends with `<eos>`.

    `words[id]` is the word of an id. Id 0 is `<eos>`; the others are sorted by how often the training text has them,
    ties by first appearance: the order of Transformer-XL's Vocab (vocabulary.py), which adaptive softmax needs and
    which means nothing to other models. `source` says in words where the text came from.
    """

    name: str
    source: str
    words: tuple[str, ...]
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @property
    def vocabulary_size(self) -> int:
        """Different words, `<eos>` among them."""
        return len(self.words)

    def manifest(self) -> dict[str, Any]:
        """Identity of the text for the record: source, sizes, and a digest of vocabulary and every token."""
        digest = sha256("\n".join(self.words).encode())
        for split in SPLITS:
            digest.update(b"%d\n" % len(getattr(self, split)))
            digest.update(getattr(self, split).astype("<i4").data)
        sizes = {split: {"tokens": len(getattr(self, split))} for split in SPLITS}
        return {
            "name": self.name,
            "source": self.source,
            "vocabulary": self.vocabulary_size,
            **sizes,
            "digest": digest.hexdigest(),
            "digest_covers": "vocabulary and tokens in order",
        }


def encode(name: str, source: str, texts: Mapping[str, Iterable[list[str]]]) -> Corpus:
    """The corpus of `texts`: by split, the words of each line.

    Raises UserError for a text without lines or words, one that holds `<eos>` already, and a word of the validation
    or test text that the training text does not have.
    """
    ids: dict[str, int] = {END: 0}
    train = _train_ids(texts["train"], ids, source)
    counts = np.bincount(train, minlength=len(ids))
    counts[0] = len(train) + 1  # <eos> comes first
    by_frequency = np.argsort(-counts, kind="stable")
    new_id = np.empty_like(by_frequency)
    new_id[by_frequency] = np.arange(len(by_frequency))
    first_words = list(ids)
    words = tuple(first_words[index] for index in by_frequency)
    ids = {word: index for index, word in enumerate(words)}
    held_out = [_held_out_ids(texts[split], ids, f"{source}: the {split} text") for split in SPLITS[1:]]
    return Corpus(name, source, words, new_id[train].astype(np.int32), *held_out)


def _train_ids(lines: Iterable[list[str]], ids: dict[str, int], source: str) -> np.ndarray:
    """Ids in the order of first appearance, which are entered into `ids`."""
    tokens = array("i")
    count = 0
    for words in lines:
        for word in words:
            if word not in ids:
                ids[word] = len(ids)
        tokens.extend([ids[word] for word in words])
        tokens.append(0)
        count += 1
    return _checked(tokens, count, f"{source}: the train text")


def _held_out_ids(lines: Iterable[list[str]], ids: Mapping[str, int], where: str) -> np.ndarray:
    tokens = array("i")
    count = 0
    for count, words in enumerate(lines, start=1):
        try:
            tokens.extend([ids[word] for word in words])
        except KeyError as error:
            raise UserError(
                f"{where} has the word {error.args[0]!r} in line {count}, which the train text does not have: are all "
                f"files of one data set, with rare words replaced by {UNKNOWN}?"
            ) from None
        tokens.append(0)
    return _checked(tokens, count, where)


def _checked(tokens: array, lines: int, where: str) -> np.ndarray:
    ids = np.frombuffer(tokens, dtype=np.int32) if tokens else np.zeros(0, np.int32)
    ends = int((ids == 0).sum())
    if len(ids) == ends:
        raise UserError(f"{where} holds no words")
    if ends > lines:
        raise UserError(f"{where} holds the word {END!r}: it stands for the end of a line, which is added to each")
    if lines < 2:
        raise UserError(f"{where} has no ends of lines, which become {END}: expected one sentence or paragraph a line")
    return ids
