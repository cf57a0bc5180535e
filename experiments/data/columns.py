"""One long text side by side: columns to train on, and pieces of columns that count every target once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Targets in one forward pass of an evaluation: their logits over a large vocabulary are what memory goes to.
TARGETS_AT_ONCE = 2048
NO_TARGET = -1


def columns(tokens: np.ndarray, count: int) -> np.ndarray:
    """[tokens] as [length, count], each column a stretch of the text; what does not fill all columns is left out."""
    length = len(tokens) // count
    return np.ascontiguousarray(tokens[: length * count].reshape(count, length).T)


def segment(update: int, height: int, length: int) -> tuple[int, int]:
    """First and last (exclusive) token that `update`, counted from 1, reads of columns of `height` tokens.

    It reads `length` at a time, pass after pass. The last token of a column is only a target; so the last segment of a
    pass may be shorter.
    """
    start = (update - 1) % -(-(height - 1) // length) * length
    return start, min(start + length, height - 1)


def held_out_pieces(
    tokens: np.ndarray, count: int, rank: int = 0, world_size: int = 1, length: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets [T, n], piece after piece, of the columns that a rank has of `count` in all; T is `length`,
    but for the last, or what suits memory.

    Each token of the text but the first is a target in one column; columns differ in length by one at most, and
    `NO_TARGET` fills the shorter ones up. A rank without columns gets nothing.
    """
    targets = len(tokens) - 1
    count = min(count, targets)
    bounds = np.arange(count + 1) * targets // count
    mine = range(rank * count // world_size, (rank + 1) * count // world_size)
    if not mine:
        return
    longest = max(bounds[column + 1] - bounds[column] for column in range(count))
    inputs = np.zeros((longest, len(mine)), dtype=tokens.dtype)
    wanted = np.full((longest, len(mine)), NO_TARGET, dtype=tokens.dtype)
    for place, column in enumerate(mine):
        start, stop = bounds[column], bounds[column + 1]
        inputs[: stop - start, place] = tokens[start:stop]
        wanted[: stop - start, place] = tokens[start + 1 : stop + 1]
    step = length or max(1, TARGETS_AT_ONCE // len(mine))
    for start in range(0, longest, step):
        yield inputs[start : start + step], wanted[start : start + step]
