"""The options of a parameter group: the defaults of those that came later, and the values that each may have."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

# Options that came after the first release, with what they were before.
LATER_OPTIONS = {
    "max_grad_norm": 0.0,
    "no_prox": False,
    "foreach": None,
    "fused": None,
    "capturable": False,
    "state_dtype": None,
    "state_rounding": "stochastic",
}
OPTIONS = ("lr", "betas", "eps", "weight_decay", *LATER_OPTIONS)
STATE_ROUNDINGS = ("stochastic", "nearest")


def check_options(group: Mapping[str, Any], where: str = "", *, given: bool = False) -> None:
    """ValueError where an option is missing, of another type or out of its range; `where` begins the sentence.

    `given` says that the user has just given the options: then a learning rate below 0 is refused, which schedules
    may reach by rounding, and one on an accelerator is waited for.
    """
    if missing := [name for name in OPTIONS if name not in group]:
        raise ValueError(f"{where}Adan's options {', '.join(missing)} are missing; add_param_group fills in defaults")
    _check_rate(group["lr"], where, given)
    for name in ("eps", "weight_decay", "max_grad_norm"):
        _check_number(name, group[name], where)
    _check_betas(group["betas"], where)
    for name, unset in (("no_prox", False), ("capturable", False), ("foreach", True), ("fused", True)):
        value = group[name]
        if not (isinstance(value, int) and value in (0, 1)) and not (unset and value is None):
            raise ValueError(f"{where}{name} must be True{', False or None' if unset else ' or False'}, not {value!r}")
    dtype, rounding = group["state_dtype"], group["state_rounding"]
    if not any(dtype is allowed for allowed in (None, torch.float32, torch.bfloat16)):
        raise ValueError(f"{where}state_dtype must be None, torch.float32 or torch.bfloat16, not {dtype!r}")
    if not isinstance(rounding, str) or rounding not in STATE_ROUNDINGS:
        raise ValueError(f"{where}state_rounding must be one of {STATE_ROUNDINGS}, not {rounding!r}")


def warn_of_paper_betas(group: Mapping[str, Any], stacklevel: int) -> None:
    """Warn where betas are so small that they are probably in the paper's convention."""
    betas = tuple(group["betas"])
    if any(beta < 0.5 for beta in betas):
        paper = ", ".join(f"{1 - beta:g}" for beta in betas)
        warnings.warn(
            f"betas={betas}: the paper writes 1 - beta, this code (like the authors') the decay rates "
            f"themselves. If these come from the paper, pass ({paper}); the default is (0.98, 0.92, 0.99).",
            stacklevel=stacklevel + 1,
        )


def _check_rate(rate: Any, where: str, given: bool) -> None:
    value = rate
    if isinstance(rate, Tensor):
        if rate.numel() != 1:
            raise ValueError(f"{where}lr as a tensor must have one element, not shape {tuple(rate.shape)}")
        if rate.dtype is torch.bool or rate.is_complex():
            raise ValueError(f"{where}lr as a tensor must hold a real number, not {rate.dtype}")
        if rate.device.type != "cpu" and not given:
            return
        value = rate.item()
    _check_number("lr", value, where, lowest=0.0 if given else -math.inf)


def _check_number(name: str, value: Any, where: str, lowest: float = 0.0) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        advice = f" (float({name}) makes one of it; lr alone may be a tensor)" if isinstance(value, Tensor) else ""
        raise ValueError(f"{where}{name} must be a number, not {value!r}{advice}")
    if not (lowest <= float(value) < math.inf and math.isfinite(value)):
        bound = "at least 0 and finite" if lowest == 0.0 else "finite"
        raise ValueError(f"{where}{name} must be {bound}, not {value}")


def _check_betas(betas: Any, where: str) -> None:
    numbers = tuple(betas) if hasattr(betas, "__iter__") and not _is_scalar(betas) else ()
    if len(numbers) != 3 or not all(_is_rate_of_decay(beta) for beta in numbers):
        advice = "; two are Adam's: see adan.from_adamw" if len(numbers) == 2 else ""
        raise ValueError(f"{where}betas must be three numbers in [0, 1), not {betas}{advice}")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 0


def _is_rate_of_decay(beta: Any) -> bool:
    return isinstance(beta, Real) and not isinstance(beta, bool) and 0.0 <= float(beta) < 1.0
