"""The reference itself: the golden values of the authors' code, and the departed reference without departures."""

import numpy as np
import pytest

from experiments.conformance import golden
from experiments.conformance.cases import CASES
from experiments.conformance.departures import DEPARTURES, DepartedAdan
from experiments.conformance.measuring import deviation, reference, updates
from experiments.conformance.reference import ReferenceAdan

# Of the authors' code, and of known departures (shared facts, algorithm.md section 4): settings, departures, values.
GOLDEN = {
    **{name: (hyper, (), values) for name, (hyper, values) in golden.TRAJECTORIES.items()},
    "previous gradient 0 at start": (
        {},
        ("zero start",),
        (0.9000000010, 0.9067029876, 0.8617816702, 0.8379778448, 0.8424715175),
    ),
    "Algorithm 1 literally": (
        {},
        ("paper start",),
        (0.9000000020, 0.9495900691, 0.9692956346, 0.9911643497, 1.0171579224),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_trajectories(name):
    hyper, departures, expected = GOLDEN[name]
    optimizers = [DepartedAdan(departures, [{"params": [1.0]}], lr=0.1, **hyper)]
    if not departures:
        optimizers.append(ReferenceAdan([{"params": [1.0]}], lr=0.1, **hyper))
    for optimizer in optimizers:
        for gradient, theta in zip(golden.GRADIENTS, expected, strict=True):
            optimizer.step([[gradient]])
            assert optimizer.params[0] == pytest.approx(theta, abs=6e-11)


def departed(case, *names):
    groups = [{"params": params, **own} for params, own in zip(case.start(), case.groups, strict=True)]
    return DepartedAdan(names, groups, **case.settings)


@pytest.mark.parametrize("case", [case.reduced() for case in CASES], ids=lambda case: case.name)
def test_without_departures_it_is_the_reference_bit_for_bit(case):
    for own, right in zip(updates(case, departed(case)), updates(case, reference(case)), strict=True):
        for made, expected in zip(own, right, strict=True):
            np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("name", DEPARTURES)
def test_every_departure_leaves_the_reference_in_some_case(name):
    worst = 0.0
    for case in (case.reduced() for case in CASES):
        pairs = zip(updates(case, departed(case, name)), updates(case, reference(case)), strict=True)
        worst = max(worst, *(deviation(own, right) for own, right in pairs))
    assert worst > 1e-4
