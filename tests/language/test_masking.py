"""Dynamic masking: how many, which, what becomes of them, and that only (seed, update) decides."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.data.subwords.masking import Vocabulary, mask
from experiments.schema.task_sections import TextConfig

SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
VOCABULARY = Vocabulary.of(1000, SPECIAL)


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    """400 sequences of 50 to 98 words."""
    generator = np.random.RandomState(0)
    rows = np.full((400, 100), 1)
    for row in rows:
        length = generator.randint(50, 99)
        row[0], row[1 : 1 + length], row[1 + length] = 0, generator.randint(5, 1000, length), 2
    return rows


def test_15_percent_of_the_words_are_targets_of_which_80_10_10(tokens):
    masked = mask(tokens, TextConfig(), VOCABULARY, 0, 1)
    words = tokens >= 5
    assert not (masked.chosen & ~words).any(), "no special token is a target"
    assert masked.count == pytest.approx(0.15 * words.sum(), rel=0.01)
    assert (abs(masked.chosen.sum(1) - 0.15 * words.sum(1)) < 1).all(), "in every sequence, to rounding"
    inputs, were = masked.inputs[masked.chosen], tokens[masked.chosen]
    count = len(were)
    hidden, same = inputs == 4, inputs == were
    assert hidden.sum() == pytest.approx(0.8 * count, abs=4 * (0.16 * count) ** 0.5)
    assert same.sum() == pytest.approx(0.1 * count, abs=4 * (0.09 * count) ** 0.5)
    other = inputs[~hidden & ~same]
    assert other.min() >= 5 and len(np.unique(other)) > 200, "a random word is any word"


def test_what_is_no_target_stays_as_it_was(tokens):
    masked = mask(tokens, TextConfig(), VOCABULARY, 0, 1)
    assert (masked.inputs[~masked.chosen] == tokens[~masked.chosen]).all()
    assert masked.tokens is tokens


def test_all_words_are_targets_equally_often(tokens):
    """Place by place over 200 updates: the count is binomial to within five deviations."""
    row = tokens[:1]
    counts = sum(mask(row, TextConfig(), VOCABULARY, 0, update).chosen[0].astype(int) for update in range(200))
    words = row[0] >= 5
    assert counts[~words].sum() == 0
    assert abs(counts[words] - 30).max() < 5 * (200 * 0.15 * 0.85) ** 0.5


def test_seed_and_update_decide(tokens):
    first = mask(tokens, TextConfig(), VOCABULARY, 0, 7)
    again = mask(tokens, TextConfig(), VOCABULARY, 0, 7)
    assert (first.inputs == again.inputs).all() and (first.chosen == again.chosen).all()
    for other in (mask(tokens, TextConfig(), VOCABULARY, 0, 8), mask(tokens, TextConfig(), VOCABULARY, 1, 7)):
        assert (other.chosen != first.chosen).mean() > 0.1


def test_rates_are_those_that_are_asked_for(tokens):
    text = TextConfig(mask_probability=0.5, leave_unmasked=0.0, random_token=1.0)
    masked = mask(tokens, text, VOCABULARY, 0, 1)
    assert masked.count == pytest.approx(0.5 * (tokens >= 5).sum(), rel=0.01)
    assert not (masked.inputs == 4).any()
    assert (mask(tokens, TextConfig(mask_probability=0.0), VOCABULARY, 0, 1).inputs == tokens).all()
