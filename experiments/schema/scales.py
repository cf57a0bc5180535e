"""The scales of a run: the paper's, and smaller ones with the data and the models that less time is enough for.

A scale is a name here, a file of `configs/scale` that says in words what it is, and, of every scale but the paper's, a
section of that name in the file of each experiment that has it: see `Experiment` and `layers.variant_layers`.
"""

from __future__ import annotations

from pathlib import Path

from experiments.schema import paths
from experiments.schema.sources import read
from experiments.schema.typed import Tree

SCALES = ("paper", "small", "mini")  # the largest first, as on every page
PAPER = SCALES[0]
SHRUNK = SCALES[1:]


def about(scale: str, configs: Path = paths.CONFIGS) -> Tree:
    """What `configs/scale` says of a scale: `summary` for lists and, of a shrunk one, `page` for pages of results."""
    return read(configs / "scale" / f"{scale}.yaml")


def scales_of(experiment: Tree) -> list[str]:
    """The scales at which an experiment can be run, the largest first."""
    return [PAPER, *(scale for scale in SHRUNK if scale in experiment)]
