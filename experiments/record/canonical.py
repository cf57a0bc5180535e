"""One spelling per value: JSON with sorted keys, so that equal values have equal bytes and equal digests.

JSON has no NaN and no infinities; they are written as the strings "nan", "inf" and "-inf" and read back as
floats. Every other float is written by `repr`, which reads back to the same bits.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(value: Any) -> Any:
    """Copy of `value` that strict JSON can hold: dicts with string keys, lists, strings, numbers, booleans, None.

    Tuples become lists and scalars of numpy and torch become numbers. Raises TypeError for anything else.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key must be a string, not {key!r}")
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain(value.item())
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")


def restore(value: Any) -> Any:
    """Inverse of `plain` on what JSON read: the three strings of non-finite numbers become floats again."""
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    return value


def canonical(value: Any) -> str:
    """The one ASCII spelling of `value`: sorted keys, no spaces."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(content: str | bytes) -> str:
    """SHA-256 of bytes, or of a text as UTF-8, in 64 hex digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def value_digest(value: Any) -> str:
    """SHA-256 of the canonical spelling of `value`."""
    return sha256(canonical(value))
