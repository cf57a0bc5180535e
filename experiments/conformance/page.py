"""The page of results, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from textwrap import dedent

from experiments.conformance.comparison import NOT_OFFERED, PRECISIONS, Finding, Report
from experiments.conformance.implementations import NotRun
from experiments.conformance.measuring import LEAVES, Measurement


def page(reports: Sequence[Report], not_run: Sequence[NotRun], setting: str, command: str) -> str:
    """The whole page: how to read it, the table, every case, a section per implementation with something to say.

    `setting` names hardware and packages; `command` is what wrote the page.
    """
    sections = [_section(alike) for alike in _alike(reports)]
    return "\n".join([_introduction(setting, command), _summary(reports, not_run), _cases(reports), *sections])


def _introduction(setting: str, command: str) -> str:
    text = f"""\
        # Conformance of Adan implementations

        Every implementation steps the same parameters along the same gradients as a float64 reference
        (`experiments/conformance/reference.py`: forty lines of numpy, the update of the authors' documentation).

        - **worst**: the largest difference between its update (parameter after minus parameter before) and the
          reference's, over the reference's largest update in that step; the worst step of all cases. In float64 it
          shows what the algorithm does, in float32 what rounding adds.
        - **leaves**: the first step that deviates by more than {LEAVES["float64"]:.0e} in float64 (room for a norm
          computed in fp32), or {LEAVES["float32"]:.0e} in float32.
        - **what differs**: found by probes, not written down. Where an implementation leaves the reference, its
          updates are compared with those of the reference under each known departure, then pairs and triples of them
          (`experiments/conformance/departures.py`); the fewest that reproduce it are named. A fixed release gets a
          clean row by itself.
        - *not offered* is a feature that an implementation does not have, which is no failure.

        Three choices are not the authors', so whoever follows their class deviates on purpose: every parameter counts
        its own steps (theirs counts per group: *late and skipping parameters*), a group is clipped at its own
        max_grad_norm (theirs at the constructor's: *clipping, by group*), and gradients are left as they were (theirs
        are clipped in place).

        Written by `{command}`
        on {setting}.
        """
    return dedent(text)


def _summary(reports: Sequence[Report], not_run: Sequence[NotRun]) -> str:
    rows = []
    for report in reports:
        leaves = report.leaves()
        rows.append(
            (
                report.implementation.name,
                report.implementation.version,
                *(f"{report.worst(precision):.1e}" for precision in PRECISIONS),
                f"step {leaves[0]} ({leaves[1]})" if leaves else "never",
                "<br>".join(finding.words for finding in report.findings) or "nothing",
            )
        )
    rows += [(other.name, "", "", "", "", f"not run: {other.reason}") for other in not_run]
    return _table(("implementation", "version", "worst, float64", "worst, float32", "leaves", "what differs"), rows)


def _cases(reports: Sequence[Report]) -> str:
    names = [report.implementation.name for report in reports]
    rows = []
    for case in reports[0].measured["float64"]:
        rows.append((case, *(_cell(*(report.measured[p][case] for p in PRECISIONS)) for report in reports)))
    title = "## Every case\n\nWorst deviation in float64 / float32; bold where it leaves the reference.\n\n"
    return title + _table(("case", *names), rows)


def _cell(double: Measurement, single: Measurement) -> str:
    if double.missing and single.missing:
        return NOT_OFFERED if double.missing.startswith(NOT_OFFERED) else "**raises**"
    return " / ".join(_number(m) for m in (double, single))


def _number(measurement: Measurement) -> str:
    if measurement.missing:
        return "not run"
    return f"{measurement.worst:.0e}" if measurement.first is None else f"**{measurement.worst:.0e}**"


def _alike(reports: Sequence[Report]) -> list[list[Report]]:
    """Reports with something to say, neighbours that say the same together."""
    said = [report for report in reports if report.findings]
    groups = groupby(said, lambda r: (r.implementation.version, [(f.words, f.where) for f in r.findings]))
    return [list(group) for _, group in groups]


def _section(alike: Sequence[Report]) -> str:
    report, implementation = alike[0], alike[0].implementation
    names = "; ".join(other.implementation.name for other in alike)
    lines = [
        f"## {names} ({implementation.version})\n",
        f"Called as `{implementation.call}`. {implementation.remark}".rstrip() + "\n",
    ]
    for finding in report.findings:
        where = "; ".join(finding.where) if set(finding.where) != set(report.offered()) else "every case"
        lines.append(f"**{_sentence(finding.words)}** Seen in: {where}.{_steps(report, finding)}\n")
        if finding.reproduction:
            lines.append(f"```python\n{finding.reproduction.program}```\n")
            lines.append(f"expected `{finding.reproduction.expected}`, actual `{finding.reproduction.actual}`\n")
    return "\n".join(lines)


def _steps(report: Report, finding: Finding) -> str:
    """In which step the first of the finding's cases leaves the reference, and by how much the worst of them does."""
    for precision in PRECISIONS:
        measured = [report.measured[precision][case] for case in finding.where if case in report.measured[precision]]
        if measured and measured[0].first is not None:
            return f" It leaves at step {measured[0].first}, by {max(m.worst for m in measured):.2g} at worst."
    return ""


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)
