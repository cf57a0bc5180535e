"""Tables as GitHub Markdown, padded so that they read in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.grid import Grid


def grid(layout: Grid) -> str:
    """The paper's layout as one table."""
    header = [layout.corner, "", *(", ".join(labels) for labels in layout.columns)]
    return table(header, [[row.label, row.shows, *row.cells] for row in layout.rows])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with cells padded to the width of their column."""
    lines = [[_escape(text) for text in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    padded = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])) + "\n"


def bullets(lines: Sequence[str]) -> str:
    """A list, one line each."""
    return "".join(f"- {line}\n" for line in lines)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
