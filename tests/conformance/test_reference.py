"""The reference itself: the golden values of the authors' code, and the departed reference without departures."""

import numpy as np
import pytest

from experiments.conformance.cases import CASES, SCALAR_GRADIENTS
from experiments.conformance.departures import DEPARTURES, DepartedAdan
from experiments.conformance.measuring import deviation, reference, updates
from experiments.conformance.reference import ReferenceAdan

# theta0 = 1, lr 0.1: trajectories of the authors' code and of known departures (shared facts, algorithm.md section 4).
GOLDEN = {
    "no decay": ({}, (), (0.9000000020, 0.9352740853, 0.8985604383, 0.8823209180, 0.8938366509)),
    "prox": ({"weight_decay": 0.02}, (), (0.8982035948, 0.9316144492, 0.8931145731, 0.8751248032, 0.8848707945)),
    "no_prox": (
        {"weight_decay": 0.02, "no_prox": True},
        (),
        (0.8980000020, 0.9314780853, 0.8929014821, 0.8748761589, 0.8846421394),
    ),
    "clipped": (
        {"weight_decay": 0.02, "max_grad_norm": 0.4},
        (),
        (0.8982035953, 0.9361194931, 0.9124056375, 0.8990656209, 0.9132404801),
    ),
    "other betas": (
        {"weight_decay": 0.02, "betas": (0.9, 0.9, 0.999)},
        (),
        (0.8982035948, 0.9336790937, 0.8934066347, 0.8751768285, 0.8880450564),
    ),
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
        for gradient, theta in zip(SCALAR_GRADIENTS, expected, strict=True):
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
