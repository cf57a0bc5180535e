"""One run as it was asked for, before anything is looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Point:
    """One point of the command line: its choices (`exp`, `optim`, `epochs`, ...) and dotted values, as typed."""

    choices: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
