"""The film reviews of the package movie_reviews as a labelled task, and as text to pre-train on for it.

The texts that are trained on may be pre-trained on without their labels; those held out are in neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from experiments.data.text import movie_reviews
from experiments.data.text.movie_reviews import Review

HELD_OUT, TRAIN = 1_000, 20_000  # the first and the next, of different texts
BREAK = "<br />"


@lru_cache(maxsize=1)
def _unique() -> dict[str, Review]:
    """The reviews by their text on one line: IMDB repeats some."""
    unique: dict[str, Review] = {}
    for review in movie_reviews.reviews():
        unique.setdefault(review.text.replace(BREAK, " ").strip(), review)
    return unique


def labelled() -> tuple[list[Review], list[Review]]:
    """20,000 reviews to train on and 1,000 held out, no text twice."""
    reviews = (Review(text, review.label) for text, review in _unique().items())
    held_out = list(islice(reviews, HELD_OUT))
    return list(islice(reviews, TRAIN)), held_out


def not_held_out() -> Iterator[str]:
    """The texts of all reviews but those held out, a line for a line."""
    for review in islice(_unique().values(), HELD_OUT, None):
        yield review.text.replace(BREAK, "\n").strip()
