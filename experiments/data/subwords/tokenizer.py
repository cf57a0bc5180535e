"""Byte-level byte-pair encoding (Radford et al. 2019) with RoBERTa's special tokens: given, or trained on a corpus.

A tokenizer is the library's `tokenizers.Tokenizer`; its text is its JSON, which checkpoints carry, so that a
fine-tuning run reads with the very tokenizer of its parent.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.schema.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # ids 0 to 4; RobertaConfig expects the first three there


def train(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A tokenizer of `vocabulary_size` entries, the 5 special tokens and 256 bytes among them.

    Raises UserError when the texts are too few for as many.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if (found := tokenizer.get_vocab_size()) != vocabulary_size:
        raise UserError(
            f"model.arguments.vocab_size={vocabulary_size}: the corpus has only {found} byte-pair entries, give "
            f"model.arguments.vocab_size={found}"
        )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def load(place: str) -> Tokenizer:
    """The fast tokenizer of a folder or a hub repository, by transformers. Raises UserError when there is none, also
    where transformers then makes one of special tokens alone (version 5 does, of a folder with weights)."""
    import transformers

    name = "folder" if Path(place).is_dir() else "folder or hub repository"
    try:
        found = transformers.AutoTokenizer.from_pretrained(place, use_fast=True).backend_tokenizer
    except Exception as error:  # OSError, ValueError and what the hub's client raises
        raise UserError(f"text.tokenizer={place}: no {name} with a fast tokenizer: {error}") from error
    if found.get_vocab_size() <= len(found.get_added_tokens_decoder()):
        raise UserError(
            f"text.tokenizer={place}: no {name} with a tokenizer; give text.tokenizer=FOLDER of the model's own"
        )
    found.no_truncation()  # its file may keep what it was last used with
    found.no_padding()
    return found


def from_text(text: str) -> Tokenizer:
    """Inverse of `Tokenizer.to_str`."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(text)


def digest(tokenizer: Tokenizer) -> str:
    """SHA-256 of a tokenizer's JSON."""
    return sha256(tokenizer.to_str().encode()).hexdigest()


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids of RoBERTa's special tokens. Raises UserError when one is missing."""
    ids: dict[str, int] = {}
    for token in SPECIAL_TOKENS:
        index = tokenizer.token_to_id(token)
        if index is None:
            raise UserError(f"the tokenizer has no {token}: pre-training needs one with RoBERTa's special tokens")
        ids[token] = index
    return ids
