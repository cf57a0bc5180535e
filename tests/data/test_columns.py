"""Columns of a text: what is read, and that an evaluation counts every target once."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from experiments.data.columns import NO_TARGET, TARGETS_AT_ONCE, columns, held_out_pieces


def test_columns_are_stretches_of_the_text():
    assert columns(np.arange(11), 3).T.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("size", [2, 3, 10, 61, 3 * TARGETS_AT_ONCE + 5])
@pytest.mark.parametrize("count", [1, 2, 7, 10])
@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_every_target_counts_once_after_its_own_predecessor(size, count, world_size):
    tokens = np.arange(size, dtype=np.int32)
    seen = Counter()
    for rank in range(world_size):
        read: list[list[int]] | None = None
        for inputs, targets in held_out_pieces(tokens, count, rank, world_size):
            assert inputs.shape == targets.shape and inputs.size <= TARGETS_AT_ONCE
            read = read or [[] for _ in range(inputs.shape[1])]
            real = targets != NO_TARGET
            seen.update(zip(inputs[real].tolist(), targets[real].tolist(), strict=True))
            for place, column in enumerate(read):
                column += inputs[real[:, place], place].tolist()
        for column in read or []:  # pieces follow one another, so that a carry means something
            assert all(second == first + 1 for first, second in pairwise(column))
    assert seen == Counter(pairwise(range(size)))
