"""How often the verdicts err, by simulation with the very functions that judge: cells, and claims over games."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.verdict.judge import BETTER, INCONCLUSIVE, REPRODUCED, WORSE, kind_of
from experiments.verdict.reported import Reported
from experiments.verdict.spread import Sourced, spread_of
from experiments.verdict.statistics import compare

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
CELL_KINDS = (REPRODUCED, BETTER, WORSE, INCONCLUSIVE)


def cells(
    n: int, difference: float, draws: int, sourced_sd: float = 1.0, margin: float = 5.0, seed: int = 0
) -> dict[str, float]:
    """The share of each kind of verdict on a cell, in the unit of the true spread between seeds (sd 1): `n` seeds whose
    true mean lies `difference` above the reported number's, with a sourced spread that says `sourced_sd`."""
    generator = np.random.default_rng(seed)
    ours = generator.normal(difference, 1.0, (draws, n))
    theirs = generator.normal(0.0, 1.0, draws)
    sourced = Sourced(sourced_sd, 12, "", "")
    found: Counter[str] = Counter()
    for values, value in zip(ours.tolist(), theirs.tolist(), strict=True):
        reported = Reported("", "", "", "", "", "", "max", value)
        found[_kind(values, reported, sourced, margin)] += 1
    return {kind: found[kind] / draws for kind in CELL_KINDS}


def _kind(values: Sequence[float], reported: Reported, sourced: Sourced, margin: float) -> str:
    spread = spread_of(values, sourced)
    assert spread is not None
    comparison = compare(values, reported.value, spread.sd, spread.degrees_of_freedom)
    return kind_of(comparison, reported, spread, margin, settings_of_ours=False)[0]
