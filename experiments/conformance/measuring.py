"""Measure how far the updates of an implementation are from those of the reference.

The deviation of one step is the largest difference between the two updates (theta after minus theta before, taken in
float64) over the largest update of the reference in that step. It is relative to the whole step, not to an element,
because m and v cancel in single elements, where any rounding looks large; and no element is hidden by that, since
updates of Adan are all of the size of the learning rate. Two precisions: float64 shows what the algorithm does, float32
what rounding adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from experiments.conformance.cases import Case
from experiments.conformance.implementations import FEATURES, Implementation, Stepper
from experiments.conformance.reference import ReferenceAdan

# A step leaves the reference beyond these. Some implementations keep scalars such as the norm in fp32 whatever the
# parameters are; no difference of algorithm that we know of stays below.
LEAVES = {"float64": 1e-6, "float32": 1e-4}


@dataclass(frozen=True)
class Measurement:
    """Holds what one implementation did on one case. `missing` says why there is nothing to measure.

    `worst` is the largest deviation and `first` the first step that leaves the reference, with `off` of `elements`
    wrong in that step, `unmoved` of them at rest where the reference moves.
    """

    worst: float = 0.0
    first: int | None = None
    off: int = 0
    unmoved: int = 0
    elements: int = 0
    missing: str = ""


def measure(case: Case, implementations: Mapping[str, Implementation], precision: str, device: str):
    """Step all `implementations` along one pass of the reference. Returns a `Measurement` by name."""
    results = {}
    steppers: dict[str, Stepper] = {}
    for name, implementation in implementations.items():
        lacking = [need for need in sorted({*case.needs, precision}) if need in implementation.lacks]
        if lacking:
            reason = "; ".join(f"{FEATURES[need]}: {implementation.lacks[need]}" for need in lacking)
            results[name] = Measurement(missing=f"not offered ({reason})")
            continue
        try:
            steppers[name] = implementation.stepper(case, precision, device)
        except Exception as error:
            results[name] = Measurement(missing=f"raises {_failure(error)}")
    results |= _lockstep(case, steppers, LEAVES[precision])
    return {name: results[name] for name in implementations}


def reference(case: Case) -> ReferenceAdan:
    """The reference at the start of a case."""
    groups = [{"params": p, **overrides} for p, overrides in zip(case.start(), case.groups, strict=True)]
    return ReferenceAdan(groups, **case.settings)


def updates(case: Case, optimizer: ReferenceAdan) -> list[list[np.ndarray]]:
    """The updates of every step of a case made by the reference or a departed one."""
    made = []
    before = optimizer.params
    for _, lr, restart, gradients in case.stream():
        advance(optimizer, lr, restart, gradients)
        made.append([after - start for after, start in zip(optimizer.params, before, strict=True)])
        before = optimizer.params
    return made


def advance(optimizer: ReferenceAdan, lr: float, restart: bool, gradients: list) -> None:
    """One step of the reference."""
    for group in optimizer.groups:
        group["lr"] = lr
    if restart:
        optimizer.restart()
    optimizer.step(gradients)


def own_updates(case: Case, stepper: Stepper) -> list[list[np.ndarray]]:
    """The updates of every step of a case made by an implementation."""
    made = []
    before = stepper.params()
    for _, lr, restart, gradients in case.stream():
        if restart:
            stepper.restart()
        stepper.step(gradients, lr)
        after = stepper.params()
        made.append([end - start for end, start in zip(after, before, strict=True)])
        before = after
    return made


def deviation(made: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest difference of two updates over the largest expected one; inf where none is expected but some is made."""
    difference = max((np.max(np.abs(m - e)) for m, e in zip(made, expected, strict=True) if e.size), default=0.0)
    if difference == 0.0:
        return 0.0
    size = _largest(expected)
    return float(difference / size) if np.isfinite(difference) and size > 0.0 else float("inf")


def _largest(update: list[np.ndarray]) -> float:
    return max((np.max(np.abs(part)) for part in update if part.size), default=0.0)


def _lockstep(case: Case, steppers: dict[str, Stepper], limit: float) -> dict[str, Measurement]:
    results = {name: Measurement() for name in steppers}
    truth = reference(case)
    before = {name: stepper.params() for name, stepper in steppers.items()}
    for step, lr, restart, gradients in case.stream():
        start = truth.params
        advance(truth, lr, restart, gradients)
        expected = [end - begin for end, begin in zip(truth.params, start, strict=True)]
        for name, stepper in list(steppers.items()):
            try:
                if restart:
                    stepper.restart()
                stepper.step(gradients, lr)
            except Exception as error:
                results[name] = Measurement(missing=f"raises at step {step}: {_failure(error)}")
                del steppers[name]
                continue
            after = stepper.params()
            made = [end - begin for end, begin in zip(after, before[name], strict=True)]
            results[name] = _merge(results[name], step, made, expected, limit)
            before[name] = after
    return results


def _merge(so_far: Measurement, step: int, made: list, expected: list, limit: float) -> Measurement:
    here = deviation(made, expected)
    worst = max(so_far.worst, here)
    if so_far.first is not None or here <= limit:
        return replace(so_far, worst=worst)
    size = _largest(expected)
    wrong = [~(np.abs(own - right) <= limit * size) for own, right in zip(made, expected, strict=True)]
    unmoved = [w & (own == 0) & (right != 0) for w, own, right in zip(wrong, made, expected, strict=True)]
    return Measurement(worst, step, _count(wrong), _count(unmoved), sum(part.size for part in made))


def _count(masks: list[np.ndarray]) -> int:
    return int(sum(mask.sum() for mask in masks))


def _failure(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"
