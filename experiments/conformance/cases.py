"""The parameters and gradient streams on which implementations are compared with the reference.

Starts and updates are of one size (start = lr * normal numbers), so that the rounding of the parameter itself does not
hide what the update does. All numbers are exact in fp32: both precisions see the same stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from experiments.conformance import golden
from experiments.conformance.reference import DEFAULTS

Gradients = list[list[Any]]  # group by group, one array (or None) per parameter
SMALL = ((1,), (7,), (3, 5))


@dataclass(frozen=True)
class Case:
    """One stream and the settings it runs under.

    `groups` holds one dictionary of overridden settings per group, `shapes` the parameters of each group.
    `absent` says for (step from 1, index of the parameter over all groups) that there is no gradient.
    `needs` names what an implementation must offer beyond a plain step: see `implementations.FEATURES`.
    """

    name: str
    steps: int = 40
    needs: frozenset[str] = frozenset()
    hyper: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[Mapping[str, Any], ...] = ({},)
    shapes: tuple[tuple[tuple[int, ...], ...], ...] = (SMALL,)
    scale: Callable[[np.random.Generator, int, tuple[int, ...]], Any] = lambda generator, step, shape: 1.0
    absent: Callable[[int, int], bool] = lambda step, index: False
    restarts: tuple[int, ...] = ()
    rate: Callable[[int], float] = lambda step: 1.0
    scalar: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The complete hyper-parameters of the constructor."""
        return {**DEFAULTS, "lr": 0.125, **self.hyper}

    def start(self) -> list[list[np.ndarray]]:
        """Values of the parameters before the first step, group by group."""
        if self.scalar:
            return [[np.ones(shape) for shape in part] for part in self.shapes]
        generator = np.random.default_rng(0)
        return [[_fp32(self.settings["lr"] * generator.standard_normal(shape)) for shape in p] for p in self.shapes]

    def stream(self) -> Iterator[tuple[int, float, bool, Gradients]]:
        """(step from 1, learning rate, whether to restart before it, gradients) of every step."""
        for step in range(1, self.steps + 1):
            yield step, self.settings["lr"] * self.rate(step), step in self.restarts, self._gradients(step)

    def reduced(self) -> Case:
        """The same stream on small parameters."""
        shapes = tuple(tuple(tuple(min(size, 3) for size in shape) for shape in part) for part in self.shapes)
        return replace(self, shapes=shapes)

    def _gradients(self, step: int) -> Gradients:
        generator = np.random.default_rng([1, step])
        gradients: Gradients = []
        index = 0
        for part in self.shapes:
            gradients.append([])
            for shape in part:
                if self.scalar:
                    value = np.full(shape, golden.GRADIENTS[(step - 1) % len(golden.GRADIENTS)])
                else:
                    value = _fp32(self.scale(generator, step, shape) * generator.standard_normal(shape))
                gradients[-1].append(None if self.absent(step, index) else value)
                index += 1
        return gradients


def _fp32(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=np.float32).astype(np.float64)


def _wide(generator: np.random.Generator, step: int, shape: tuple[int, ...]) -> Any:
    """Scales from 1e-8 to 1e4, another one for every element and step."""
    return 10.0 ** generator.uniform(-8, 4, shape)


def _mostly_zero(generator: np.random.Generator, step: int, shape: tuple[int, ...]) -> Any:
    """Nothing at all at the first and every fifth step, otherwise zeros in half of the elements."""
    return (generator.random(shape) < 0.5) * float(step % 5 != 1)


def _bursts(generator: np.random.Generator, step: int, shape: tuple[int, ...]) -> Any:
    """Every third gradient is large: some steps are clipped, others not."""
    return 1.0 if step % 3 == 0 else 0.03125


CASES = (
    Case("plain"),
    Case("gradients of 1e-8", scale=lambda *_: 1e-8),
    Case("gradients of 1e4", scale=lambda *_: 1e4),
    Case("gradients of 1e-8 to 1e4", scale=_wide),
    Case("zeros", scale=_mostly_zero),
    Case("1 to 1e6 elements", steps=8, shapes=(((1,), (4099,), (1000, 1000), (2, 3, 5, 7)),), hyper={"eps": 1e-6}),
    Case("0-dim parameter", shapes=(((), ()),)),
    Case("other betas and eps", hyper={"betas": (0.9, 0.95, 0.999), "eps": 1e-3}),
    Case("learning rate by schedule", rate=lambda step: min(step - 1, 10) / 10 * (1 if step < 25 else 0.1)),
    Case("weight decay, prox", needs=frozenset({"prox"}), hyper={"weight_decay": 0.5}),
    Case("weight decay, no_prox", needs=frozenset({"no_prox"}), hyper={"weight_decay": 0.5, "no_prox": True}),
    Case("clipping", needs=frozenset({"clipping"}), hyper={"max_grad_norm": 0.5, "eps": 1e-3}, scale=_bursts),
    Case(
        "clipping, 0-dim parameter",
        needs=frozenset({"clipping"}),
        hyper={"max_grad_norm": 0.5},
        shapes=(((), (3,)),),
        scale=_bursts,
    ),
    Case(
        "clipping, by group",
        needs=frozenset({"clipping", "groups"}),
        hyper={"max_grad_norm": 0.5},
        groups=({}, {"max_grad_norm": 0.25}, {"max_grad_norm": 0.0}),
        shapes=(SMALL, SMALL, SMALL),
        scale=_bursts,
    ),
    Case(
        "late and skipping parameters",
        needs=frozenset({"absent"}),
        absent=lambda step, index: (index == 1 and step < 8) or (index == 2 and step % 4 == 3),
    ),
    Case("restarts", needs=frozenset({"restart"}), restarts=(11, 21)),
)


def minimal(case: Case) -> Case:
    """Reduce `case` to what it is about, on one or two scalars that start at 1, in a few steps."""
    scalar = () if "0-dim" in case.name else (1,)
    changes: dict[str, Any] = {"shapes": ((scalar,),), "steps": 3, "scalar": True, "rate": lambda step: 1.0}
    settings = {**case.hyper, "lr": 0.1}
    if case.name == "gradients of 1e-8":
        settings["eps"] = 1.0  # the same ratio of gradient to eps
    if "absent" in case.needs:
        changes |= {"shapes": ((scalar, scalar),), "absent": lambda step, index: index == 1 and step < 3, "steps": 4}
    if "groups" in case.needs:
        changes |= {"shapes": ((scalar,), (scalar,)), "groups": case.groups[:2]}
    if "restart" in case.needs:
        changes |= {"restarts": (3,), "steps": 4}
    return replace(case, hyper=settings, **changes)
