"""The optimizers of the suite: which implementation each name means, and how it differs from its paper.

The rule: the update that produced the published numbers, for an optimizer in none of the paper's tables that of its own
paper, from a library that is kept up. Where a library's update or default is something else, `differences` says what is
used here and why; `tests/optimizers` holds each to a float64 reference of what it claims.

Versions behind the tables: the released runs used timm 0.6.1's optimizer factory; baselines of Table 3 come from the
AdaBelief authors' code and its relatives.

One module a family. Importing this package enters them into the registry; `python run.py --optimizers` prints them all.
Hyper-parameters and their defaults stand in `configs/optim`, which `optim=` composes from.
"""

from __future__ import annotations

from experiments.optimizers.catalogue import adam, adam_variants, adan, momentum, second_moment
from experiments.optimizers.registry import OPTIMIZERS

for family in (adan, momentum, second_moment, adam, adam_variants):
    OPTIMIZERS.update({entry.name: entry for entry in family.ENTRIES})
