"""A text as segments of parallel columns, for models that carry something from segment to segment.

The text is cut into so many columns as a batch has rows; segment after segment goes down all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.schema.errors import UserError

NO_TARGET = -100  # torch's cross-entropy ignores it


@dataclass(frozen=True)
class Place:
    """A segment of the training text: its first position in the columns, and its length."""

    start: int
    length: int


class TrainSegments:
    """The training text, pass after pass, as a pure function of the update.

    As in the authors' code (kimiyoung/transformer-xl@44781ed:pytorch/data_utils.py `LMOrderedIterator`): what does not
    fill all columns is left out, the first token of a column is no target, the last segment of a pass is shorter.
    """

    def __init__(self, tokens: np.ndarray, columns: int, length: int) -> None:
        """`tokens` int32 [tokens]. Raises UserError when a column would have no target."""
        height = len(tokens) // columns
        if height < 2:
            raise UserError(
                f"batch_size={columns} (as run): {len(tokens)} training tokens are too few for so many columns"
            )
        self.columns = tokens[: columns * height].reshape(columns, height)
        self.length = length
        self.updates_per_pass = -(-(height - 1) // length)

    def place(self, update: int) -> Place:
        """Where `update`, counted from 1, reads. A pass begins where `start` is 0."""
        start = (update - 1) % self.updates_per_pass * self.length
        return Place(start, min(self.length, self.columns.shape[1] - 1 - start))

    def count(self, update: int) -> int:
        """Targets of `update` in all columns."""
        return self.place(update).length * len(self.columns)

    def read(self, update: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and targets of `update` in columns `first` to `last` - 1, both int64 [columns, length]."""
        place = self.place(update)
        rows = self.columns[first:last, place.start : place.start + place.length + 1].astype(np.int64)
        return rows[:, :-1], rows[:, 1:]


def held_out_segments(
    tokens: np.ndarray, columns: int, length: int, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A held-out text in order: tokens and targets, int64 [columns of this rank, at most `length`].

    Every token but the first is the target of one column on one rank; the column before its first target has the token
    itself as input. Where columns end unevenly the target is `NO_TARGET`. Ranks share the columns; one may have none.
    """
    columns = max(1, min(columns, len(tokens) - 1))
    edges = np.array([(len(tokens) - 1) * column // columns for column in range(columns + 1)])
    mine = range(columns * rank // world_size, columns * (rank + 1) // world_size)
    starts, ends = edges[:-1][mine.start : mine.stop], edges[1:][mine.start : mine.stop]
    longest = int((ends - starts).max(initial=0))
    for position in range(0, longest, length):
        at = starts[:, None] + np.arange(position, min(position + length, longest))
        inside = at < ends[:, None]
        at = np.minimum(at, len(tokens) - 2)
        yield tokens[at].astype(np.int64), np.where(inside, tokens[at + 1].astype(np.int64), NO_TARGET)
