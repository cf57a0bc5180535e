"""Momentum alone: no second moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo


def _sam_states(settings: Mapping[str, Any]) -> int:
    """The base's states, and the weights kept while the gradient is taken elsewhere."""
    from experiments.optimizers.registry import info  # the registry is made from this catalogue

    return 1 + info(settings["base"]).states_with(settings["base_settings"])


ENTRIES = [
    OptimizerInfo(
        name="sgd",
        library="torch",
        states=1,
        elementwise=True,
        paper="Polyak 1964 (nesterov: false); Sutskever et al. 2013 (nesterov: true)",
        defaults={"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
        build=libraries.sgd,
        differences=(
            "torch's defaults are momentum 0 and no Nesterov; here they are those of timm's name 'sgd', which the "
            "released code uses. The momentum buffer starts as the first gradient and is not scaled by 1 - momentum; "
            "weight decay is coupled."
        ),
        count_states=lambda settings: int(settings["momentum"] > 0),
    ),
    OptimizerInfo(
        name="sam",
        library="experiments",
        states=2,
        paper="Foret et al., arXiv 2010.01412, eq. 2; adaptive: Kwon et al., arXiv 2102.11600",
        defaults={
            "lr": 0.1,
            "rho": 0.05,
            "adaptive": False,
            "base": "sgd",
            "base_settings": {},
            "weight_decay": 0.0,
        },
        build=libraries.sam,
        differences=(
            "Ours (sam.py), around any registered base: the wrappers of libraries restore the weights by subtraction, "
            "this one exactly. Under data parallelism the perturbation follows the averaged gradient, where the paper "
            "lets each device perturb by its own. Weight decay is the base's, at the unperturbed weights."
        ),
        count_states=_sam_states,
    ),
]
