"""One optimizer over the parameters of several runs, stacked along their first dimension, with a rate for each run.

torch's optimizers know one learning rate for a parameter group. So rows that share a rate are parameters of their own
here: views into the stacked ones, which a step changes in place. Gradients arrive at the stacked parameters and are
handed to the views just before the step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer


def rows_with_rates(groups: Sequence[dict[str, Any]], rates: Sequence[float]) -> list[dict[str, Any]]:
    """Parameter groups [S, ...] cut into groups of rows [n, ...], each with its `lr` and its `first_run` of the S.

    Equal rates that stand side by side share a group; with one rate for all nothing is cut.
    """
    if len(set(rates)) < 2:
        return list(groups)
    return [
        {**group, "params": _rows(group["params"], first, last), "lr": rate, "first_run": first}
        for first, last, rate in _blocks(rates)
        for group in groups
    ]


def hand_over_gradients(optimizer: Optimizer, groups: Sequence[dict[str, Any]]) -> None:
    """Let every step of `optimizer`, which has rows of the parameters in `groups`, use those parameters' gradients."""
    stacked = [parameter for group in groups for parameter in group["params"]]

    rows = [(row, group["first_run"]) for group in optimizer.param_groups for row in group["params"]]
    owners = stacked * (len(rows) // len(stacked))  # every block of rows has its part of each

    def before(*_: object) -> None:
        for (row, first), owner in zip(rows, owners, strict=True):
            row.grad = None if owner.grad is None else owner.grad[first : first + len(row)]

    def after(*_: object) -> None:
        for parameter in stacked:  # `zero_grad` reaches the rows alone
            parameter.grad = None

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def set_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """Give every parameter group the rate of its runs, of which `rates` [S] has one for each, times its `lr_scale`."""
    for group in optimizer.param_groups:
        rate = rates[group.get("first_run", 0)] * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # see `on_device`
        else:
            group["lr"] = rate


def set_momenta(optimizer: Optimizer, momenta: Sequence[float | None]) -> None:
    """Give every parameter group the momentum of its runs, of which `momenta` [S] has one for each: `momentum`, or the
    first of its `betas`. None leaves it as it was built."""
    for group in optimizer.param_groups:
        momentum = momenta[group.get("first_run", 0)]
        if momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


def _rows(parameters: Sequence[nn.Parameter], first: int, last: int) -> list[nn.Parameter]:
    return [nn.Parameter(parameter.detach()[first:last]) for parameter in parameters]


def _blocks(rates: Sequence[float]) -> Iterator[tuple[int, int, float]]:
    """First row, row after the last, and rate of every stretch of equal rates."""
    first = 0
    for rate, members in groupby(rates):
        last = first + len(list(members))
        yield first, last, rate
        first = last
