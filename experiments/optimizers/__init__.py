"""Optimizers by name, parameter groups, learning-rate schedules.

    optimizer = build({"name": "adan", "lr": 1.5e-2, "weight_decay": 0.02}, model)
    set_rates(optimizer, [schedules.rate(config.schedule, config.optim["lr"], epoch)])

An optimizer of your own needs no change here. This is a whole one, the file `my_package.py`:

    import torch
    from experiments.optimizers import OptimizerInfo

    class SignSGD(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in (p for p in group["params"] if p.grad is not None):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * p.grad.sign())

    SIGNSGD = OptimizerInfo(name="signsgd", library="my_package", paper="arXiv 1802.04434", states=0, elementwise=True,
                            defaults={"lr": 1e-3, "weight_decay": 0.0},
                            build=lambda groups, **settings: SignSGD(groups, settings))

Either call `register(SIGNSGD)` before `build`, or let your package announce it in its `pyproject.toml`, so that
`python run.py exp=vit_small optim=signsgd optim.lr=1e-4` finds it, too:

    [project.entry-points."adan_reproduction.optimizers"]
    signsgd = "my_package:SIGNSGD"

Importing this package imports no torch, so names and facts answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.optimizers import catalogue  # noqa: F401  its import fills the registry
from experiments.optimizers.facts import OptimizerInfo
from experiments.optimizers.registry import info, names, register, resolve

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = ["OptimizerInfo", "build", "describe", "info", "names", "register", "resolve"]


def build(optim: dict[str, Any], module: nn.Module, rates: Sequence[float] = ()) -> Optimizer:
    """Build the optimizer that `optim` describes (`name`, `decay_bias_and_norm`, `layer_decay`, its
    hyper-parameters).

    `module` is the bare model (not wrapped by DDP or `torch.compile`: parameter names decide about weight decay).
    `rates` are those of the runs [S] whose parameters are stacked in it, where they differ (element-wise optimizers).
    Absent hyper-parameters take the registry's defaults. Raises UserError for an unknown name or key, or for a
    value that the optimizer refuses.
    """
    from experiments.optimizers.building import build as build_optimizer

    return build_optimizer(optim, module, rates)


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Tell what ran, for the record: `name`, `class`, `library`, `version`, `implementation`, `kernel`, the SHA-256 of
    a library that was compiled on this machine (and `base` of SAM)."""
    from experiments.optimizers.building import describe as describe_optimizer

    return describe_optimizer(optimizer)
