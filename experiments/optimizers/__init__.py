"""Optimizers by name, parameter groups, learning-rate schedules.

    optimizer = build({"name": "adan", "lr": 1.5e-2, "weight_decay": 0.02}, model)
    for group in optimizer.param_groups:
        group["lr"] = schedules.rate(config.schedule, config.optim["lr"], epoch)

An optimizer of your own needs no change here. Either call `register` before `build`, or let your package announce it
as an entry point, so that `run.py` finds it too:

    [project.entry-points."adan_reproduction.optimizers"]
    signsgd = "my_package:SIGNSGD"

    SIGNSGD = OptimizerInfo(
        name="signsgd",
        library="my_package",
        states=0,
        paper="arXiv 1802.04434",
        defaults={"lr": 1e-3, "weight_decay": 0.0},
        build=lambda groups, **settings: SignSGD(groups, **settings),
    )

Importing this package imports no torch, so names and facts answer at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.optimizers.facts import OptimizerInfo
from experiments.optimizers.registry import info, names, register, resolve

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = ["OptimizerInfo", "build", "describe", "info", "names", "register", "resolve"]


def build(optim: dict[str, Any], module: nn.Module) -> Optimizer:
    """Build the optimizer that `optim` describes (`name`, `decay_bias_and_norm`, its hyper-parameters).

    `module` is the bare model (not wrapped by DDP or `torch.compile`: parameter names decide about weight decay).
    Absent hyper-parameters take the registry's defaults. Raises UserError for an unknown name or key, or for a
    value that the optimizer refuses.
    """
    from experiments.optimizers.building import build as build_optimizer

    return build_optimizer(optim, module)


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """What ran, for the record: `name`, `class`, `library`, `version`, `implementation` (and `base` of SAM)."""
    from experiments.optimizers.building import describe as describe_optimizer

    return describe_optimizer(optimizer)
