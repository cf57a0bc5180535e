"""Word-level corpora by name: a training, a validation and a test text as arrays of token ids.

Importing this package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from experiments.data.text.corpus import Corpus

# name -> module with `load(config)`, `missing(config)` and `identity(config)`
SOURCES = {
    "ptb": "word_level",
    "wikitext2": "word_level",
    "wikitext103": "word_level",
    "movie_reviews": "movie_reviews",
}


def load(config: DataConfig) -> Corpus:
    """Load the corpus `config.name` and check it against the sizes of `config`, which plan and schedule count on.

    Raises UserError when the name is unknown, files are missing or not the expected ones, a word of the validation or
    test text does not occur in the training text, ends of lines are missing, or sizes differ.
    """
    if problem := missing(config):
        raise UserError(problem)
    corpus: Corpus = _module(config).load(config)
    _compare(config, corpus)
    return corpus


def missing(config: DataConfig) -> str | None:
    """Say what the user must provide before `load` can work, in one sentence, or None. Fast."""
    return _module(config).missing(config)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read, by its contents."""
    return _module(config).identity(config)


def _module(config: DataConfig) -> ModuleType:
    if config.name not in SOURCES:
        raise UserError(f"data={config.name!r} is no text{suggestion(config.name, sorted(SOURCES))}")
    return import_module(f"experiments.data.text.{SOURCES[config.name]}")


def _compare(config: DataConfig, corpus: Corpus) -> None:
    if corpus.vocabulary_size != config.vocabulary:
        raise UserError(
            f"data.vocabulary={config.vocabulary}, but {corpus.source} has {corpus.vocabulary_size} different words "
            f"with <eos>: give data.vocabulary={corpus.vocabulary_size} if that is meant"
        )
    for key, tokens in (("train_size", corpus.train), ("valid_size", corpus.valid), ("test_size", corpus.test)):
        if len(tokens) != getattr(config, key):
            raise UserError(
                f"data.{key}={getattr(config, key)}, but {corpus.source} holds {len(tokens)} tokens with <eos>: "
                f"give data.{key}={len(tokens)} if that is meant"
            )
