"""Describe an optimizer by facts, and check its hyper-parameters. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from numbers import Real
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion
from experiments.schema.sources import read
from experiments.schema.spaces import SPACE

BYTES_PER_FLOAT = 4  # states are fp32 unless a run is fp64
# The tensor whose floats per parameter `states` gives, where they depend on the shape.
MATRIX = (1024, 1024)
OUR_PACKAGES = ("adan", "experiments")
OUR_DISTRIBUTION = "adan-reproduction"

Settings = Mapping[str, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class OptimizerInfo:
    """Facts about one optimizer.

    `defaults` holds every hyper-parameter with its default: these keys are the legal `optim.*` keys. `build` takes
    a list of parameter groups and the hyper-parameters as keywords and returns a `torch.optim.Optimizer`; it does
    its imports itself. `library` is the distribution that the update comes from.

    `states` counts the floats kept per parameter at the defaults, after a step; `count_states(settings)`, where given,
    counts them for other hyper-parameters. `count_floats(settings, shape, name)`, where given, counts the floats kept
    for one tensor whose states are not of its own shape; `states` is then that of a 1024 x 1024 matrix.

    `elementwise` tells whether a number's update depends on that number's own parameter, gradients and states alone,
    so that parts of a tensor may be stepped apart (with clipping by norm off). `capturable` tells whether a step on a
    GPU can be captured in a CUDA graph and replayed with other rates, once the rate is an fp32 tensor there and the
    groups' `capturable`, where they have it, is true: it then reads no number on the host, its count of steps included.
    `uncapturable(settings)`, where given, tells hyper-parameters with which it cannot. `differences` says how what runs
    differs from the paper, which defaults are neither the paper's nor the library's, and why. `space` declares, for an
    optimizer of another package, what there is to tune (`experiments.schema.spaces`); ours declare it in their files.
    """

    name: str
    library: str
    states: float
    paper: str
    defaults: Mapping[str, Any]
    build: Callable[..., Any]
    differences: str = ""
    count_states: Callable[[Settings], float] | None = None
    count_floats: Callable[[Settings, Shape, str], int] | None = None
    elementwise: bool = False
    capturable: bool = False
    uncapturable: Callable[[Settings], bool] | None = None
    space: Mapping[str, Any] | None = None

    @property
    def version(self) -> str:
        """The installed version of `library`."""
        return library_version(self.library)

    def complete(self, settings: Settings, origin: str = "optim") -> dict[str, Any]:
        """Return `settings` over the defaults, lists as tuples.

        UserError for a key that is no hyper-parameter, a value that is not the kind of thing its default is, or a
        number that means nothing in any optimizer: libraries let many of them pass.
        """
        for key, value in settings.items():
            if key not in self.defaults:
                nearest = suggestion(key, self.defaults)
                raise UserError(f"{origin}.{key}: {self.name} has no hyper-parameter {key!r}{nearest}")
            _check_kind(f"{origin}.{key}", value, self.defaults[key])
            _check_range(f"{origin}.{key}", key, value)
        merged = {**self.defaults, **settings}
        return {key: tuple(value) if isinstance(value, list) else value for key, value in merged.items()}

    def states_with(self, settings: Settings) -> float:
        """Floats of state per parameter with these hyper-parameters (absent ones at their defaults)."""
        if self.count_floats is not None:
            return self.floats(settings, MATRIX) / math.prod(MATRIX)
        return self.count_states({**self.defaults, **settings}) if self.count_states else self.states

    def captures(self, settings: Settings) -> bool:
        """Whether a step with these hyper-parameters can be captured (absent ones at their defaults)."""
        excluded = self.uncapturable is not None and self.uncapturable({**self.defaults, **settings})
        return self.capturable and not excluded

    def floats(self, settings: Settings, shape: Shape, name: str = "") -> int:
        """Floats of state for one parameter of this shape; some optimizers (Muon) go by its name, too."""
        if self.count_floats is not None:
            return self.count_floats({**self.defaults, **settings}, shape, name)
        return round(self.states_with(settings) * math.prod(shape))


def defaults_of(name: str) -> dict[str, Any]:
    """Read the hyper-parameters of `configs/optim/<name>.yaml`, lists as tuples. Raises UserError without that file."""
    tree = read(paths.CONFIGS / "optim" / f"{name}.yaml")
    held = {key: value for key, value in tree.items() if key not in ("name", "decay_bias_and_norm", SPACE)}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in held.items()}


def library_version(library: str) -> str:
    """The installed version of a distribution, `unknown` where there is none; our packages have one in common."""
    try:
        return version(OUR_DISTRIBUTION if library in OUR_PACKAGES else library)
    except PackageNotFoundError:
        return "unknown"


def _check_kind(key: str, value: Any, default: Any) -> None:
    """UserError unless `value` is the kind of thing that `default` is. A 0-dim tensor passes for a number."""
    if isinstance(default, bool):
        kind, good = "true or false", isinstance(value, bool)
    elif isinstance(default, Real):
        kind, good = "a number", _is_number(value)
    elif isinstance(default, tuple):
        kind = f"{len(default)} numbers"
        good = isinstance(value, list | tuple) and len(value) == len(default) and all(map(_is_number, value))
    elif isinstance(default, str):
        kind, good = "a name", isinstance(value, str)
    elif isinstance(default, Mapping):
        kind, good = "a mapping", isinstance(value, Mapping)
    else:
        return
    if not good:
        raise UserError(f"{key}={value!r}: must be {kind}, for example {default}")


def _check_range(key: str, name: str, value: Any) -> None:
    """UserError for nan, for a rate, decay or eps that is negative or infinite, and for betas outside [0, 1)."""
    numbers = [float(v) for v in (value if isinstance(value, list | tuple) else (value,)) if _is_number(v)]
    if name == "betas" and not all(0.0 <= number < 1.0 for number in numbers):
        raise UserError(f"{key}={value!r}: every one must be at least 0 and below 1")
    if name in ("lr", "weight_decay", "eps") and not all(0.0 <= number < math.inf for number in numbers):
        raise UserError(f"{key}={value!r}: must be at least 0 and finite")
    if any(map(math.isnan, numbers)):
        raise UserError(f"{key}={value!r}: must be a number")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool | str) and hasattr(value, "__float__")
