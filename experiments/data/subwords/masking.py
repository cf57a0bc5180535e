"""Dynamic masking (Devlin et al. 2019, section 3.1; Liu et al. 2019, section 4.1): other targets at every update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.data.streams import derive
from experiments.schema.task_sections import TextConfig


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Holds what masking must know: the ids of words, int64, those that are none, and of these `mask` and `padding`."""

    words: np.ndarray
    special: tuple[int, ...]
    mask: int
    padding: int

    @classmethod
    def of(cls, size: int, special: dict[str, int]) -> Vocabulary:
        """That of a tokenizer with `size` entries and these special ones."""
        ids = tuple(special.values())
        return cls(np.setdiff1d(np.arange(size), ids), ids, special["<mask>"], special["<pad>"])


@dataclass(frozen=True, eq=False)
class Masked:
    """`inputs`, int64 [n, length], hold what the model sees; `chosen`, bool [n, length], where it must say what was
    there; `tokens`, int64 [n, length], what that was."""

    inputs: np.ndarray
    chosen: np.ndarray
    tokens: np.ndarray

    @property
    def count(self) -> int:
        """Number of targets."""
        return int(self.chosen.sum())


def mask(tokens: np.ndarray, text: TextConfig, vocabulary: Vocabulary, seed: int, *place: int) -> Masked:
    """Mask `tokens`, int64 [n, length], by the stream of (`seed`, `place`).

    Of the words of each row `mask_probability` are chosen: that share rounded down or up by chance, as in fairseq
    (data/mask_tokens_dataset.py), so that it holds on average; special tokens never are. Of the chosen,
    `leave_unmasked` stay as they are, `random_token` become any word with equal probability, the others `<mask>`.
    """
    # RandomState, because numpy froze its streams for good (NEP 19).
    generator = np.random.RandomState(np.random.MT19937(derive(seed, "masking", *place)))
    words = ~np.isin(tokens, vocabulary.special)
    order, fate = generator.random_sample((2, *tokens.shape))
    wanted = (text.mask_probability * words.sum(axis=1) + generator.random_sample(len(tokens))).astype(np.int64)
    order[~words] = 2.0
    rank = order.argsort(axis=1).argsort(axis=1)
    chosen = rank < wanted[:, None]

    inputs = np.where(chosen & (fate >= text.leave_unmasked), vocabulary.mask, tokens)
    replaced = chosen & (fate >= text.leave_unmasked) & (fate < text.leave_unmasked + text.random_token)
    inputs[replaced] = vocabulary.words[generator.randint(len(vocabulary.words), size=int(replaced.sum()))]
    return Masked(inputs, chosen, tokens)
