"""Adan: whose claims this suite checks."""

from __future__ import annotations

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo, defaults_of

ENTRIES = [
    OptimizerInfo(
        name="adan",
        library="adan",
        states=4,
        elementwise=True,
        capturable=True,
        paper="Xie et al., arXiv 2208.06677, Algorithm 1",
        defaults=defaults_of("adan"),
        build=libraries.adan,
        differences=(
            "Ours, with the numbers of the authors' code: moments start at zero and are bias-corrected (Algorithm 1 "
            "starts them at the first gradient), eps outside the root. Steps are counted per parameter, max_grad_norm "
            "is read per group, gradients are not modified; see adan/optimizer.py. state_dtype bfloat16 keeps states "
            "in half the memory, which the paper does not know."
        ),
        # In floats: two numbers in bf16 take the room of one.
        count_states=lambda settings: 2 if settings["state_dtype"] == "bfloat16" else 4,
    ),
]
