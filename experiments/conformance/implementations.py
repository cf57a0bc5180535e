"""Any Adan behind one face: how its arguments map, what it does not offer, the code that calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.optim import Optimizer

from experiments.conformance.cases import Case
from experiments.conformance.reference import DEFAULTS

FEATURES = {
    "float64": "float64",
    "float32": "float32",
    "prox": "proximal weight decay",
    "no_prox": "weight decay in AdamW's form",
    "clipping": "clipping by the global norm",
    "groups": "settings by group",
    "absent": "parameters without a gradient",
    "restart": "a restart",
}


class Stepper(Protocol):
    """One optimizer over the parameters of one case."""

    def params(self) -> list[np.ndarray]:
        """The parameters of all groups, as float64."""

    def step(self, gradients: list[list[Any]], lr: float) -> None:
        """One step at learning rate `lr` with a gradient (or None) per parameter, group by group."""

    def restart(self) -> None:
        """Forget all momentum."""


@dataclass(frozen=True)
class Implementation:
    """An Adan to compare.

    `stepper(case, precision, device)` builds it, precision being `float64` or `float32`. `lacks` maps a feature of
    `FEATURES` to why it is not offered. `program(case, device)` is a script that steps the case and prints the
    parameters. `call` shows how the reference's arguments map, with a `remark`. `expected` says in words what deviation
    its own documentation announces.
    """

    name: str
    version: str
    call: str
    stepper: Callable[[Case, str, str], Stepper]
    program: Callable[[Case, str], str]
    optimizer: Callable[[Sequence[Any], Mapping[str, Any]], Optimizer] | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)
    expected: str = ""
    remark: str = ""


@dataclass(frozen=True)
class NotRun:
    """An implementation that is known but cannot run here."""

    name: str
    reason: str


class TorchStepper:
    """A `torch.optim.Optimizer`, with fresh gradient tensors at every step."""

    def __init__(self, make: Callable[[list[dict[str, Any]]], Optimizer], case: Case, precision: str, device: str):
        dtype = getattr(torch, precision)
        self.groups = [[torch.nn.Parameter(_tensor(a, dtype, device)) for a in part] for part in case.start()]
        overrides = zip(self.groups, case.groups, strict=True)
        self.optimizer = make([{"params": params, **override} for params, override in overrides])

    def params(self) -> list[np.ndarray]:
        return [p.detach().double().cpu().numpy().copy() for part in self.groups for p in part]

    def step(self, gradients: list[list[Any]], lr: float) -> None:
        for params, part in zip(self.groups, gradients, strict=True):
            for param, gradient in zip(params, part, strict=True):
                param.grad = None if gradient is None else _tensor(gradient, param.dtype, param.device)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def restart(self) -> None:
        self.optimizer.restart_opt()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class TorchAdan:
    """Says how a torch Adan is imported, called and given the reference's hyper-parameters."""

    imports: str
    call: str
    make: Callable[..., Optimizer]
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]]

    def optimizer(self, groups: Sequence[Any], hyper: Mapping[str, Any]) -> Optimizer:
        return self.make(self.translated(groups, hyper), **self.arguments(hyper))

    def translated(self, groups: Sequence[Any], hyper: Mapping[str, Any]) -> list[Any]:
        """`groups` with their overridden settings under the names that this class gives them."""
        return [self._group(g, hyper) if isinstance(g, dict) else g for g in groups]

    def _group(self, group: dict[str, Any], hyper: Mapping[str, Any]) -> dict[str, Any]:
        overrides = {key: value for key, value in group.items() if key != "params"}
        constructor, own = self.arguments(hyper), self.arguments({**hyper, **overrides})
        return {"params": group["params"], **{key: own[key] for key in own if own[key] != constructor[key]}}

    def implementation(
        self, name: str, version: str, lacks: Mapping[str, str] | None = None, expected: str = ""
    ) -> Implementation:
        """This class as an implementation to compare."""
        call = self.expression({key: _Name(key) for key in DEFAULTS})
        return Implementation(name, version, call, self.stepper, self.program, self.optimizer, lacks or {}, expected)

    def stepper(self, case: Case, precision: str, device: str) -> Stepper:
        return TorchStepper(lambda groups: self.optimizer(groups, case.settings), case, precision, device)

    def expression(self, hyper: Mapping[str, Any], params: str = "params") -> str:
        """The call, as one would write it."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments(hyper).items())
        return f"{self.call}({params}, {arguments})"

    def program(self, case: Case, device: str) -> str:
        """A script for a case whose parameters are scalars that start at 1."""
        count = sum(map(len, case.shapes))
        ones = "()" if case.shapes[0][0] == () else "1"
        place = "" if device == "cpu" else f", device={device!r}"
        names = [f"params[{index}]" for index in range(count)]
        groups = "params"
        if len(case.groups) > 1:
            own = [self._group({"params": None, **group}, case.settings) for group in case.groups]
            entries = [
                f'{{"params": [{name}]' + "".join(f', "{k}": {v!r}' for k, v in g.items() if k != "params") + "}"
                for name, g in zip(names, own, strict=True)
            ]
            groups = f"[{', '.join(entries)}]"
        rows = [tuple(None if g is None else g.item() for part in row[3] for g in part) for row in case.stream()]
        restart = ""
        if case.restarts:
            restart = f"    if step == {case.restarts[0]}:\n        optimizer.restart_opt()\n"
        return (
            f"import torch\n{self.imports}\n\n"
            f"params = [torch.nn.Parameter(torch.ones({ones}, dtype=torch.float64{place})) for _ in range({count})]\n"
            f"optimizer = {self.expression(case.settings, groups)}\n"
            f"for step, gradients in enumerate({rows!r}, 1):\n"
            f"{restart}"
            "    for param, gradient in zip(params, gradients):\n"
            "        param.grad = None if gradient is None else torch.full_like(param, gradient)\n"
            "    optimizer.step()\n"
            "print([param.item() for param in params])\n"
        )


class _Name(str):
    """A string that shows itself without quotes: the name of a hyper-parameter in a call."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _tensor(value: Any, dtype: torch.dtype, device: Any) -> torch.Tensor:
    return torch.tensor(value, dtype=dtype, device=device)
