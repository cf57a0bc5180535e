"""From a configuration and a model to an optimizer, and from an optimizer to what the record says about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from adan.group_step import FUSED_CPU
from adan.kernels.compilation import library_digest
from experiments.optimizers.facts import library_version
from experiments.optimizers.muon import MuonWithAdamW
from experiments.optimizers.parameter_groups import parameter_groups
from experiments.optimizers.registry import resolve
from experiments.optimizers.sam import SAM
from experiments.optimizers.stacked_runs import hand_over_gradients, rows_with_rates
from experiments.schema.errors import UserError


def build(optim: Mapping[str, Any], module: nn.Module, rates: Sequence[float] = ()) -> Optimizer:
    """See `experiments.optimizers.build`."""
    entry, settings, grouping = resolve(optim)
    groups = parameter_groups(module, settings.get("weight_decay", 0.0), **grouping)
    own = rows_with_rates(groups, rates)
    try:
        optimizer = entry.build(own, **settings)
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"optim={entry.name} refuses its hyper-parameters {settings}: {error}") from error
    if len(own) > len(groups):
        hand_over_gradients(optimizer, groups)
    optimizer.registry_name = entry.name  # type: ignore[attr-defined]
    return optimizer


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """See `experiments.optimizers.describe`."""
    library = type(optimizer).__module__.partition(".")[0]
    facts: dict[str, Any] = {
        "name": getattr(optimizer, "registry_name", type(optimizer).__name__.lower()),
        "class": f"{type(optimizer).__module__}.{type(optimizer).__qualname__}",
        "library": library,
        "version": library_version(library),
        "implementation": _implementation(optimizer),
    }
    if library == "adan" and FUSED_CPU in facts["implementation"].split("+"):
        facts["kernel"] = library_digest()  # compiled here: no version tells what ran
    if isinstance(optimizer, SAM):
        facts["base"] = describe(optimizer.base)
    if isinstance(optimizer, MuonWithAdamW):
        facts["parts"] = [describe(part) for part in optimizer.parts]
    return facts


def _implementation(optimizer: Optimizer) -> str:
    """Which of its forms the optimizer runs: as it says itself, as its flags say, or by its library's rule."""
    if isinstance(optimizer, SAM):
        return _implementation(optimizer.base)
    if isinstance(optimizer, MuonWithAdamW):
        return ", ".join(f"{type(part).__name__}: {_implementation(part)}" for part in optimizer.parts)
    told = getattr(optimizer, "implementation", None)
    if told is not None:
        return told
    groups = optimizer.param_groups
    for flag in ("fused", "foreach"):
        if all(group.get(flag) is True for group in groups):
            return flag
    if all(group.get("foreach", ...) is None for group in groups):
        # torch's rule, which timm follows: list by list on an accelerator, tensor by tensor on a CPU.
        return "foreach" if all(p.is_cuda for group in groups for p in group["params"]) else "single-tensor"
    return "single-tensor"
