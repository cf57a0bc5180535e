"""Which parameters Muon steps. No torch: plans count states by it, too."""

from __future__ import annotations

from fnmatch import fnmatchcase

from experiments.optimizers.facts import Shape


def is_hidden_matrix(shape: Shape, name: str, adamw_names: str) -> bool:
    """Whether Muon steps a parameter: it has two dimensions, and no wildcard of `adamw_names` matches its name."""
    patterns = [pattern.strip() for pattern in adamw_names.split(",")]
    return len(shape) == 2 and not any(fnmatchcase(name, pattern) for pattern in patterns)
