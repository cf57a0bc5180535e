"""Exceptions for a user's mistakes, and the search for what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user asked for. The door prints it without a stack trace and exits with 2."""


class DataError(UserError):
    """A mistake in the data that one process may meet alone, such as a broken image: that process says so."""


def suggestion(value: object, choices: Iterable[object]) -> str:
    """Return `; did you mean 'x'?` with the nearest choice, or the list of choices when none is near."""
    names = [str(choice) for choice in choices]
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose from: {', '.join(names)}" if names else ""
