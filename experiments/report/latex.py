"""Tables as LaTeX, to be `\\input` by a document that loads booktabs and graphicx."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from experiments.report.grid import Grid

ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape(text: str) -> str:
    """`text` with every character that LaTeX would interpret made literal."""
    return "".join(ESCAPES.get(character, character) for character in text)


def grid(layout: Grid, caption: str, label: str, notes: Sequence[str] = ()) -> str:
    """A floating table in the paper's layout, shrunk to the width of the text where it is wider; `notes` below."""
    body = [_line(row.label, row.shows, *row.cells) for row in layout.rows]
    for index in range(len(body) - 1, 0, -1):
        if layout.rows[index].label:
            body.insert(index, r"\addlinespace")
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{{label}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{ll{'l' * len(layout.columns)}}}",
            r"\toprule",
            *_header(layout),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {escape(note)}}}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _header(layout: Grid) -> list[str]:
    """One line per level of column labels; equal neighbours of an outer level share a rule."""
    lines = []
    depth = len(layout.columns[0])
    for level in range(depth - 1):
        groups = [(label, len(list(group))) for label, group in groupby(labels[level] for labels in layout.columns)]
        cells = [rf"\multicolumn{{{size}}}{{c}}{{{escape(label)}}}" for label, size in groups]
        lines.append(f" & & {' & '.join(cells)} \\\\")
        start, rules = 3, []
        for _, size in groups:
            rules.append(rf"\cmidrule(lr){{{start}-{start + size - 1}}}")
            start += size
        lines.append(" ".join(rules))
    lines.append(_line(layout.corner, "", *(labels[depth - 1] for labels in layout.columns)))
    return lines


def _line(*texts: str) -> str:
    return f"{' & '.join(map(escape, texts))} \\\\"
