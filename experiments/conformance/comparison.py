"""All cases on all implementations: what was measured, what differs in words, and code that shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from experiments.conformance.cases import CASES, Case
from experiments.conformance.checks import check
from experiments.conformance.departures import DEPARTURES
from experiments.conformance.explaining import explain
from experiments.conformance.implementations import Implementation
from experiments.conformance.measuring import Measurement, measure
from experiments.conformance.reference import DEFAULTS
from experiments.conformance.reproduction import Reproduction, reproduce, reproduce_gradient
from experiments.conformance.subject import Subject

PRECISIONS = ("float64", "float32")
NOT_OFFERED = "not offered"


@dataclass(frozen=True)
class Finding:
    """One difference in words, the cases (or check) that show it, and code for it where there is some."""

    words: str
    where: tuple[str, ...]
    reproduction: Reproduction | None = None


@dataclass
class Report:
    """Everything found out about one implementation. `measured[precision][case]` are its measurements."""

    implementation: Implementation
    measured: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def worst(self, precision: str) -> float:
        """Largest deviation over all cases that ran; nan where none did."""
        values = [m.worst for m in self.measured[precision].values() if not m.missing]
        return max(values) if values else float("nan")

    def leaves(self) -> tuple[int, str] | None:
        """(step, case) of the first step, over all cases, that leaves the reference; of float64 if there is one."""
        for precision in PRECISIONS:
            measured = self.measured[precision].items()
            steps = [(m.first, position, case) for position, (case, m) in enumerate(measured) if m.first is not None]
            if steps:
                step, _, case = min(steps)
                return step, case if precision == "float64" else f"{case}, {precision}"
        return None

    def offered(self) -> list[str]:
        """The cases that it offers."""
        return [case for case, m in self.measured["float32"].items() if not m.missing.startswith(NOT_OFFERED)]

    def failing(self) -> list[str]:
        """The cases in which it leaves the reference or raises, in either precision."""
        return [case for case in self.measured["float64"] if any(self._fails(case, p) for p in PRECISIONS)]

    def faults(self) -> list[Finding]:
        """The findings that its own documentation does not announce."""
        return [finding for finding in self.findings if finding.words != self.implementation.expected]

    def _fails(self, case: str, precision: str) -> bool:
        measurement = self.measured[precision][case]
        if measurement.missing:
            return not measurement.missing.startswith(NOT_OFFERED)
        return measurement.first is not None


def compare(
    implementations: Sequence[Implementation], device: str = "cpu", cases: Sequence[Case] = CASES
) -> list[Report]:
    """Measure every case in both precisions, then explain what leaves the reference."""
    named = {implementation.name: implementation for implementation in implementations}
    reports = {name: Report(implementation) for name, implementation in named.items()}
    for precision in PRECISIONS:
        for report in reports.values():
            report.measured[precision] = {}
        for case in cases:
            for name, measurement in measure(case, named, precision, device).items():
                reports[name].measured[precision][case.name] = measurement
    for report in reports.values():
        report.findings = [*_differences(report, cases, device), *_broken_promises(report.implementation, device)]
    return list(reports.values())


def _differences(report: Report, cases: Sequence[Case], device: str) -> list[Finding]:
    """Why the implementation leaves the reference, one finding per departure or failure."""
    implementation = report.implementation
    where: dict[str, list[str]] = {}
    for case in cases:
        if case.name not in report.failing():
            continue
        for words in _words(report, case, device):
            where.setdefault(words, []).append(case.name)
    by_name = {case.name: case for case in cases}
    return [
        Finding(
            words,
            tuple(names),
            None if words == implementation.expected else reproduce(implementation, by_name[names[0]], device),
        )
        for words, names in where.items()
    ]


def _words(report: Report, case: Case, device: str) -> list[str]:
    double, single = (report.measured[precision][case.name] for precision in PRECISIONS)
    for measurement in (double, single):
        if measurement.missing and not measurement.missing.startswith(NOT_OFFERED):
            return [f"{case.name}: {measurement.missing}"]
    precision, measurement = ("float64", double) if double.first is not None else ("float32", single)
    if report.implementation.expected and double.first is None:  # rounding excuses nothing in float64
        return [report.implementation.expected]
    departures = explain(report.implementation, case, precision, device)
    if departures:
        return [DEPARTURES[name] for name in departures]
    seen = f"leaves the reference at step {measurement.first}: {measurement.off} of {measurement.elements} elements"
    if measurement.unmoved:
        seen += f" ({measurement.unmoved} of them do not move)"
    if departures is None:
        return [f"{seen}; no known departure explains it"]
    rounding = " by rounding, not in float64" if precision == "float32" else " on large tensors only"
    return [seen + rounding]


def _broken_promises(implementation: Implementation, device: str) -> list[Finding]:
    """Return what the checks that need no reference find, and the precision of its states for bf16 parameters."""
    build = implementation.optimizer
    if build is None:
        return []
    hyper = {**DEFAULTS, "lr": 0.05, "weight_decay": 0.1}
    shapes = ((3, 4), (5,), (1,))  # 0-dim parameters are a case of their own
    subject = Subject(implementation.name, lambda params: build(params, hyper), shapes, device=device)
    clipped = Subject(implementation.name, lambda p: build(p, {**hyper, "max_grad_norm": 1e-3}), shapes, device=device)
    findings = []
    failed = [(o.check, o.words) for o in check(subject) if o.verdict == "FAIL" and o.check != "late parameters"]
    if "clipping" not in implementation.lacks:
        after = {outcome.check: outcome for outcome in check(clipped)}["gradients untouched"]
        if after.verdict == "FAIL" and "gradients untouched" not in dict(failed):
            failed.append(("gradients untouched, clipping", f"when it clips, {_without_factor(after.words)}"))
    for name, words in failed:
        plain, clipping = (next(case for case in CASES if case.name == name) for name in ("plain", "clipping"))
        code = None
        if name.startswith("gradients untouched"):
            code = reproduce_gradient(implementation, clipping if name.endswith("clipping") else plain, device)
        findings.append(Finding(words, (f"check: {name}",), code))
    dtype = _state_dtype(implementation, device)
    if dtype != torch.float32 and not implementation.expected:
        words = f"keeps the states of bfloat16 parameters in {str(dtype)[6:]}, as torch's AdamW does"
        findings.append(Finding(words, ("check: states",)))
    return findings


def _without_factor(words: str) -> str:
    """The factor of clipping is another one in every stream: that of the check would puzzle beside the code."""
    return re.sub(r"multiplied by [-+.\de]+", "scaled", words)


def _state_dtype(implementation: Implementation, device: str) -> torch.dtype:
    """The least precise type of the states that it keeps for a bfloat16 parameter."""
    assert implementation.optimizer is not None
    param = nn.Parameter(torch.ones(4, dtype=torch.bfloat16, device=device))
    param.grad = torch.ones_like(param)
    optimizer = implementation.optimizer([param], DEFAULTS)
    optimizer.step()
    tensors = [value for value in optimizer.state[param].values() if torch.is_tensor(value) and value.dim()]
    return min((tensor.dtype for tensor in tensors), key=lambda dtype: dtype.itemsize, default=torch.float32)
