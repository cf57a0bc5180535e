"""Documents as packed sequences of tokens, for masked language modelling.

A corpus is one stream of tokens: the sentences of each document and an end token after its last. Sequences are
consecutive pieces of the stream, so that none of it is lost or repeated: as many whole sentences as fit, whatever
documents they are of (FULL-SENTENCES of Liu et al. 2019, section 4.2; `sample_break_mode: complete` of fairseq). Only
a sentence longer than a sequence is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from experiments.data.subwords.documents import sentences

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DOCUMENTS_AT_A_TIME = 500


@dataclass(frozen=True, eq=False)
class Stream:
    """`tokens` [n] in the smallest unsigned integers that hold the vocabulary; `sentence_ends`, int64, are places
    after each sentence, the end token of a document counted to its last; `documents` is their number, `digest` the
    SHA-256 of their texts."""

    tokens: np.ndarray
    sentence_ends: np.ndarray
    documents: int
    digest: str


def write_stream(
    documents: Iterable[str], tokenizer: Tokenizer, end: int, file: BinaryIO
) -> tuple[np.ndarray, int, str]:
    """Write the tokens of `documents` to `file`, each document followed by token `end`; return `sentence_ends`, the
    number of documents and the digest of their texts."""
    width = token_format(tokenizer.get_vocab_size())
    lengths: list[int] = []
    total, digest = 0, sha256()
    for batch in _batches(documents):
        pieces = [sentences(document) for document in batch]
        encoded = iter(
            tokenizer.encode_batch_fast([s for document in pieces for s in document], add_special_tokens=False)
        )
        for document, text in zip(pieces, batch, strict=True):
            digest.update(text.encode() + b"\0")
            ids = [piece.ids for piece in islice(encoded, len(document))]
            ids[-1] = [*ids[-1], end]
            lengths += map(len, ids)
            file.write(np.fromiter((token for piece in ids for token in piece), width).tobytes())
        total += len(batch)
    return np.cumsum(lengths, dtype=np.int64), total, digest.hexdigest()


def token_format(vocabulary_size: int) -> np.dtype:
    """The smallest unsigned integers that hold every token."""
    return np.min_scalar_type(vocabulary_size - 1)


def map_tokens(path: Path, vocabulary_size: int) -> np.ndarray:
    """The tokens that `write_stream` wrote, [n], mapped from the file."""
    return np.memmap(path, dtype=token_format(vocabulary_size), mode="r")


def cut(sentence_ends: np.ndarray, at_most: int) -> np.ndarray:
    """Where sequences of at most `at_most` tokens begin, and where the last ends: int64 [sequences + 1]."""
    bounds, start, total = [0], 0, int(sentence_ends[-1]) if len(sentence_ends) else 0
    while start < total:
        last = int(np.searchsorted(sentence_ends, start + at_most, side="right")) - 1
        end = int(sentence_ends[last]) if last >= 0 else 0
        start = end if end > start else min(start + at_most, total)
        bounds.append(start)
    return np.array(bounds, dtype=np.int64)


class PackedSequences:
    """Sequences `<s> piece </s>` of at most `length` tokens; a piece that ends with a document has its own `</s>`."""

    def __init__(self, stream: Stream, length: int, begin: int, end: int, padding: int) -> None:
        self.stream, self.length = stream, length
        self.begin, self.end, self.padding = begin, end, padding
        self.bounds = cut(stream.sentence_ends, length - 2)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The sequences of these indices, padded to `length`: int64 [n, length]."""
        rows = np.full((len(indices), self.length), self.padding, dtype=np.int64)
        rows[:, 0] = self.begin
        for row, index in zip(rows, indices.tolist(), strict=True):
            piece = self.stream.tokens[self.bounds[index] : self.bounds[index + 1]]
            row[1 : 1 + len(piece)] = piece
            if piece[-1] != self.end:
                row[1 + len(piece)] = self.end
        return rows


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, DOCUMENTS_AT_A_TIME)):
        yield batch
