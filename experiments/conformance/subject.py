"""The optimizer to be checked: `my_package:MyOptimizer`, or a name of the registry, with settings."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments import optimizers
from experiments.schema.errors import UserError, suggestion

# What is tried in turn, and what it means for an optimizer to need the second or third.
SHAPES = {
    "": ((3, 4), (5,), ()),
    "without 0-dim parameters": ((3, 4), (5,), (1,)),
    "on matrices only": ((3, 4), (4, 2), (2, 2)),
}


@dataclass(frozen=True)
class Subject:
    """An optimizer under check: `build` makes a fresh one for a list of parameters.

    `shapes` are those it takes; `note` says what it refuses. With `needs_closure` every step hands it a closure that
    sets the same gradients.
    """

    name: str
    build: Callable[[list[nn.Parameter]], Optimizer]
    shapes: Sequence[tuple[int, ...]] = SHAPES[""]
    needs_closure: bool = False
    device: str = "cpu"
    note: str = ""

    def parameters(self, dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
        """Fresh parameters, the same ones at every call."""
        generator = torch.Generator().manual_seed(0)
        values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in self.shapes]
        return [nn.Parameter(value.to(self.device, dtype)) for value in values]

    def gradients(self, steps: int, dtype: torch.dtype = torch.float32) -> list[list[Tensor | None]]:
        """The same small gradients at every call: their norm stays below usual clipping thresholds."""
        generator = torch.Generator().manual_seed(1)
        return [
            [
                1e-2 * torch.randn(shape, generator=generator, dtype=torch.float64).to(self.device, dtype)
                for shape in self.shapes
            ]
            for _ in range(steps)
        ]

    def step(self, optimizer: Optimizer, params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
        """One step with copies of `grads` as the gradients of `params`."""

        def assign() -> Tensor:
            for param, grad in zip(params, grads, strict=True):
                param.grad = None if grad is None else grad.clone()
            return torch.zeros(())

        assign()
        if self.needs_closure:
            optimizer.step(assign)  # type: ignore[arg-type]
        else:
            optimizer.step()

    def run(self, optimizer: Optimizer, params: Sequence[Tensor], stream: Sequence[Sequence[Tensor | None]]) -> None:
        """`step` for every row of gradients."""
        for grads in stream:
            self.step(optimizer, params, grads)


def subject(spec: str, settings: Sequence[str] = (), device: str = "cpu") -> Subject:
    """Find what `spec` names and how it is stepped: with or without a closure, any tensors or matrices only.

    Raises:
        UserError: a spec or settings that do not work, with what was wrong and the nearest choice.
    """
    arguments = _settings(settings)
    if ":" in spec:
        kind = _optimizer_class(spec)
        candidate = Subject(spec, lambda params: kind(params, **arguments), device=device)
    elif "." in spec:
        module, _, name = spec.rpartition(".")
        raise UserError(f"--optimizer {spec}: write it as module:Class; did you mean '{module}:{name}'?")
    else:
        optimizers.info(spec)
        candidate = Subject(spec, lambda params: _registered(spec, arguments, params), device=device)
    return _fitted(candidate)


def _fitted(candidate: Subject) -> Subject:
    """`candidate` with the shapes and the kind of step it accepts."""
    problem = ""
    for limits, shapes in SHAPES.items():
        for needs_closure in (False, True):
            note = f"checked {limits}: {problem}" if limits else ""
            fitted = replace(candidate, shapes=shapes, needs_closure=needs_closure, note=note)
            try:
                params = fitted.parameters()
                fitted.run(fitted.build(params), params, fitted.gradients(1))
                return fitted
            except UserError:
                raise
            except Exception as error:
                problem = problem or f"{type(error).__name__}: {error}"
    hint = "; give its arguments with --settings key=value" if "required" in problem else ""
    raise UserError(f"--optimizer {candidate.name} cannot be built and stepped: {problem}{hint}")


def _registered(name: str, settings: dict[str, Any], params: list[nn.Parameter]) -> Optimizer:
    return optimizers.build({"name": name, **settings}, nn.ParameterList(params))


def _optimizer_class(spec: str) -> type[Optimizer]:
    module_name, _, class_name = spec.partition(":")
    if not module_name or module_name.startswith("."):
        raise UserError(f"--optimizer {spec}: write it as module:Class, e.g. torch.optim:AdamW")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raised = f"{type(error).__name__}: {error}"
        raise UserError(f"--optimizer {spec}: cannot import {module_name!r} ({raised})") from error
    classes = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, Optimizer)]
    if class_name not in classes:
        what = "is no torch.optim.Optimizer" if hasattr(module, class_name) else "does not exist"
        raise UserError(f"--optimizer {spec}: {class_name!r} in {module_name} {what}{suggestion(class_name, classes)}")
    return getattr(module, class_name)


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """`lr=0.1 betas=(0.9,0.99) nesterov=True` as keyword arguments; what is no Python literal stays a string."""
    settings = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier():
            raise UserError(f"--settings {pair}: write key=value, e.g. lr=0.1")
        try:
            settings[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[key] = text
    return settings
