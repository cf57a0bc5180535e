"""The few lines of code that show a difference: written, run, and set beside what the reference gives."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from experiments.conformance.cases import Case, minimal
from experiments.conformance.implementations import Implementation
from experiments.conformance.measuring import advance, reference

PRINTS_PARAMETERS = "print([param.item() for param in params])\n"
PRINTS_GRADIENTS = "print([param.grad.item() for param in params])\n"


@dataclass(frozen=True)
class Reproduction:
    """A program, what it should print and what it printed (or the error that ended it)."""

    program: str
    expected: str
    actual: str


def reproduce(implementation: Implementation, case: Case, device: str) -> Reproduction:
    """Show by a small program what `case` is about, on one or two scalars."""
    small = minimal(case)
    truth = reference(small)
    for _, lr, restart, gradients in small.stream():
        advance(truth, lr, restart, gradients)
    program = implementation.program(small, device)
    return Reproduction(program, _numbers([value.item() for value in truth.params]), _printed(program))


def reproduce_gradient(implementation: Implementation, case: Case, device: str) -> Reproduction:
    """Show by a small program what becomes of `p.grad` in `case`."""
    small = minimal(case)
    program = implementation.program(small, device).replace(PRINTS_PARAMETERS, PRINTS_GRADIENTS)
    *_, (_, _, _, last) = small.stream()
    return Reproduction(program, _numbers([gradient.item() for part in last for gradient in part]), _printed(program))


def _printed(program: str) -> str:
    """Return what a program prints, in ten digits, or the type and first line of what it raises."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(program, "<reproduction>", "exec"), {"__name__": "__main__"})
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return _numbers([float(text) for text in output.getvalue().strip("[]\n ").split(",")])


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.10f}" for value in values)
