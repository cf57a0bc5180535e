"""Say what an implementation does differently: the fewest known departures that reproduce its updates."""

from __future__ import annotations

from itertools import combinations

from experiments.conformance.cases import Case
from experiments.conformance.departures import DEPARTURES, DepartedAdan
from experiments.conformance.implementations import Implementation
from experiments.conformance.measuring import LEAVES, advance, deviation, own_updates

MOST = 3  # departures at once


def explain(implementation: Implementation, case: Case, precision: str, device: str) -> tuple[str, ...] | None:
    """The departures that together make what `implementation` makes of `case` (on small tensors).

    Empty where it does not leave the reference on small tensors; None where no three of them explain it.
    """
    small = case.reduced()
    made = own_updates(small, implementation.stepper(small, precision, device))
    for count in range(MOST + 1):
        for departures in combinations(DEPARTURES, count):
            if _follows(made, small, departures, LEAVES[precision]):
                return departures
    return None


def _follows(made: list, case: Case, departures: tuple[str, ...], limit: float) -> bool:
    """Whether the reference with `departures` makes the updates `made`; stops at the first step where it does not."""
    groups = [{"params": params, **own} for params, own in zip(case.start(), case.groups, strict=True)]
    departed = DepartedAdan(departures, groups, **case.settings)
    for own, (_, lr, restart, gradients) in zip(made, case.stream(), strict=True):
        start = departed.params
        advance(departed, lr, restart, gradients)
        expected = [end - begin for end, begin in zip(departed.params, start, strict=True)]
        if deviation(own, expected) > limit:
            return False
    return True
