"""What is known about an optimizer, and the check of its hyper-parameters. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from experiments.schema.errors import UserError, suggestion


@dataclass(frozen=True)
class OptimizerInfo:
    """Facts about one optimizer.

    `defaults` holds every hyper-parameter with its default: these keys are the legal `optim.*` keys. `build` takes
    a list of parameter groups and the hyper-parameters as keywords and returns a `torch.optim.Optimizer`; it does
    its imports itself. `states` counts the floats kept per parameter at the defaults; `count_states`, where given,
    counts them for other hyper-parameters. `elementwise` tells whether a number's update depends on that number's own
    parameter, gradients and states alone, so that a tensor may be stepped in parts (with clipping by norm off).
    `differences` says how what runs differs from the paper, and why.
    """

    name: str
    library: str
    states: int
    paper: str
    defaults: Mapping[str, Any]
    build: Callable[..., Any]
    differences: str = ""
    count_states: Callable[[Mapping[str, Any]], int] | None = None
    elementwise: bool = False

    def complete(self, settings: Mapping[str, Any], origin: str = "optim") -> dict[str, Any]:
        """Return `settings` over the defaults, lists as tuples.

        UserError for a key that is no hyper-parameter or a value that is not the kind of thing its default is.
        """
        for key, value in settings.items():
            if key not in self.defaults:
                nearest = suggestion(key, self.defaults)
                raise UserError(f"{origin}.{key}: {self.name} has no hyper-parameter {key!r}{nearest}")
            _check_kind(f"{origin}.{key}", value, self.defaults[key])
        merged = {**self.defaults, **settings}
        return {key: tuple(value) if isinstance(value, list) else value for key, value in merged.items()}

    def states_with(self, settings: Mapping[str, Any]) -> int:
        """Floats of state per parameter with these hyper-parameters (absent ones at their defaults)."""
        return self.count_states({**self.defaults, **settings}) if self.count_states else self.states


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


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool | str) and hasattr(value, "__float__")
