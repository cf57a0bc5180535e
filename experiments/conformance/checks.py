"""Check what any optimizer owes its user, whatever its update: each check steps it and raises `Fault` where it breaks
one."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from experiments.conformance.subject import Subject

Layout = Callable[[Tensor], Tensor]


class Fault(Exception):
    """Says what the optimizer did wrong."""


class NotApplicable(Exception):
    """Why a check says nothing about this optimizer."""


@dataclass(frozen=True)
class Outcome:
    """The result of one check: `verdict` is `pass`, `FAIL` or `n/a`, `words` why."""

    check: str
    verdict: str
    words: str = ""


def check(subject: Subject) -> list[Outcome]:
    """Run every check on `subject`. An exception that the optimizer raises is a failure in its words."""
    return [_outcome(function, subject) for function in CHECKS]


def _outcome(function: Callable[[Subject], None], subject: Subject) -> Outcome:
    name = function.__name__.replace("_", " ")
    try:
        function(subject)
    except NotApplicable as reason:
        return Outcome(name, "n/a", str(reason))
    except Fault as fault:
        return Outcome(name, "FAIL", str(fault))
    except Exception as error:
        return Outcome(
            name, "FAIL", f"raises {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        )
    return Outcome(name, "pass")


def state_round_trip(subject: Subject) -> None:
    """A fresh optimizer that loads the state makes the same bits, through memory and through a file."""
    stream = subject.gradients(7)
    params = subject.parameters()
    optimizer = subject.build(params)
    subject.run(optimizer, params, stream[:4])
    halfway = [param.detach().clone() for param in params]
    in_memory = copy.deepcopy(optimizer.state_dict())
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    try:
        from_file = torch.load(file, weights_only=True)
    except Exception as error:
        raise Fault(f"torch.load(weights_only=True) refuses its state: {str(error).splitlines()[0]}") from error
    subject.run(optimizer, params, stream[4:])
    for way, state in (("in memory", in_memory), ("through torch.save", from_file)):
        resumed = [nn.Parameter(value.clone()) for value in halfway]
        fresh = subject.build(resumed)
        fresh.load_state_dict(state)
        subject.run(fresh, resumed, stream[4:])
        if not _same(resumed, params):
            raise Fault(f"a fresh optimizer that loads its state ({way}) goes on otherwise, {_gap(resumed, params)}")


def late_parameters(subject: Subject) -> None:
    """A parameter whose first gradient comes at step 4 moves as it would alone in a fresh optimizer."""
    stream = subject.gradients(8, torch.float64)
    params = subject.parameters(torch.float64)
    subject.run(subject.build(params), params, [[g[0] if t >= 3 else None, *g[1:]] for t, g in enumerate(stream)])
    alone = subject.parameters(torch.float64)
    subject.run(subject.build(alone), alone, [[g[0], *(None for _ in g[1:])] for g in stream[3:]])
    gap = (params[0] - alone[0]).abs().max() / (alone[0] - subject.parameters(torch.float64)[0]).abs().max()
    if not gap < 1e-6:
        raise Fault(
            f"a parameter that starts at step 4 moves otherwise than a fresh one, by {gap.item():.2g} of its way"
        )


def gradients_untouched(subject: Subject) -> None:
    """`p.grad` is after a step what it was before."""
    params = subject.parameters()
    optimizer = subject.build(params)
    for grads in subject.gradients(3):
        subject.step(optimizer, params, grads)
        for param, grad in zip(params, grads, strict=True):
            if param.grad is None or grad is None or not torch.equal(param.grad, grad):
                raise Fault(f"a step leaves p.grad {_change(param.grad, grad)}")


def closure(subject: Subject) -> None:
    """`step(closure)` calls it once, with gradients enabled, and returns its loss."""
    params = subject.parameters()
    optimizer = subject.build(params)
    calls: list[bool] = []

    def evaluate() -> Tensor:
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = sum(((param * param).sum() for param in params), start=torch.zeros((), device=subject.device))
        if torch.is_grad_enabled():
            loss.backward()
        return loss.detach()

    expected = sum((param.detach() ** 2).sum().item() for param in params)
    loss = optimizer.step(evaluate)  # type: ignore[arg-type]
    if not calls or not all(calls):
        raise Fault("the closure runs without gradients enabled" if calls else "step ignores the closure")
    if len(calls) > 1 and not subject.needs_closure:
        raise Fault(f"a step calls the closure {len(calls)} times")
    if loss is None or abs(float(loss) - expected) > 1e-4 * expected:
        raise Fault(f"step returns {loss} instead of the closure's loss {expected:.6g}")


def scaler_skip(subject: Subject) -> None:
    """A step that GradScaler skips for an infinite gradient leaves parameters and state as they were."""
    if subject.needs_closure:
        raise NotApplicable("needs a closure, which GradScaler does not take")
    good = subject.gradients(3)
    plain = subject.parameters()
    subject.run(subject.build(plain), plain, good)

    params = subject.parameters()
    optimizer = subject.build(params)
    scaler = torch.amp.GradScaler(subject.device, init_scale=4.0)
    overflow: list[Tensor | None] = [torch.full_like(param.detach(), float("inf")) for param in params]
    stream = [good[0], overflow, *good[1:]]
    for grads in stream:
        before = _snapshot(optimizer, params)
        scaler.scale(torch.zeros((), device=subject.device))
        for param, grad in zip(params, grads, strict=True):
            param.grad = None if grad is None else grad * scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if grads is overflow and not _same(before, _snapshot(optimizer, params)):
            raise Fault("a step skipped for an infinite gradient changes parameters or state")
    if not _same(params, plain):
        raise Fault(f"after a skipped step it goes on otherwise than without one ({_gap(params, plain)})")


def frozen_and_unused_parameters(subject: Subject) -> None:
    """Parameters without a gradient stay where they are, weight decay or not."""
    params = subject.parameters()
    start = [param.detach().clone() for param in params]
    params[1].requires_grad_(False)
    subject.run(subject.build(params), params, [[g[0], None, None] for g in subject.gradients(3)])
    for kind, index in (("frozen", 1), ("unused", 2)):
        if not torch.equal(params[index].detach(), start[index]):
            raise Fault(f"a {kind} parameter without a gradient moves")
    if torch.equal(params[0].detach(), start[0]):
        raise Fault("the parameter that has a gradient does not move")


def empty_groups(subject: Subject) -> None:
    """A group without parameters, first or last, changes nothing."""
    stream = subject.gradients(3)
    plain = subject.parameters()
    subject.run(subject.build(plain), plain, stream)
    for place in ("last", "first"):
        params = subject.parameters()
        optimizer = subject.build(params)
        optimizer.add_param_group({"params": []})
        if place == "first":
            optimizer.param_groups.insert(0, optimizer.param_groups.pop())
        try:
            subject.run(optimizer, params, stream)
        except Exception as error:
            raise Fault(f"an empty group in {place} place: {type(error).__name__}: {error}") from error
        if not _same(params, plain):
            raise Fault(f"an empty group in {place} place changes the steps ({_gap(params, plain)})")


def memory_layout(subject: Subject) -> None:
    """Transposed and channels-last parameters, with gradients of either layout, move as contiguous ones."""
    matrices_only = {len(shape) for shape in subject.shapes} == {2}
    shapes = ((4, 6),) if matrices_only else ((4, 6), (4, 3, 2, 2))
    generator = torch.Generator().manual_seed(2)
    start, *stream = [
        [torch.randn(shape, generator=generator, dtype=torch.float64).to(subject.device) for shape in shapes]
        for _ in range(4)
    ]

    def end(param_layout: Layout, grad_layout: Layout) -> list[nn.Parameter]:
        params = [nn.Parameter(param_layout(value.clone())) for value in start]
        subject.run(subject.build(params), params, [[grad_layout(1e-2 * grad) for grad in grads] for grads in stream])
        return params

    plain = end(Tensor.contiguous, Tensor.contiguous)
    way = max((p.detach() - s).abs().max().item() for p, s in zip(plain, start, strict=True))
    for param_layout, grad_layout in (
        (_strided, _strided),
        (_strided, Tensor.contiguous),
        (Tensor.contiguous, _strided),
    ):
        other = end(param_layout, grad_layout)
        gap = max((p - q).abs().max().item() for p, q in zip(other, plain, strict=True))
        if not gap <= 1e-9 * way:
            raise Fault(
                f"parameters or gradients of another memory layout move otherwise, by {gap / way:.2g} of the way"
            )


def determinism(subject: Subject) -> None:
    """The same inputs give the same bits."""
    ends = []
    for _ in range(2):
        params = subject.parameters()
        subject.run(subject.build(params), params, subject.gradients(4))
        ends.append(params)
    if not _same(*ends):
        raise Fault(f"two equal runs differ ({_gap(*ends)})")


def zero_learning_rate(subject: Subject) -> None:
    """At learning rate 0 nothing moves."""
    stream = subject.gradients(4)
    params = subject.parameters()
    optimizer = subject.build(params)
    _require_rate(optimizer)
    subject.run(optimizer, params, stream[:2])
    before = [param.detach().clone() for param in params]
    for group in optimizer.param_groups:
        group["lr"] = 0.0 * group["lr"]
    subject.run(optimizer, params, stream[2:])
    if not _same([param.detach() for param in params], before):
        raise Fault(f"parameters move at learning rate 0 ({_gap(params, before)})")


def scheduler(subject: Subject) -> None:
    """A learning rate that a scheduler lowers makes a smaller step, from that step on.

    A thousandfold: AdaMod, whose rates are bounded by their own average, shows no less within a few steps.
    """
    stream = subject.gradients(4)
    moves = []
    for factor in (1.0, 1e-3):
        params = subject.parameters()
        optimizer = subject.build(params)
        _require_rate(optimizer)
        schedule = LambdaLR(optimizer, lambda step, factor=factor: factor if step >= 3 else 1.0)  # type: ignore[misc]
        for grads in stream:
            before = [param.detach().clone() for param in params]
            subject.step(optimizer, params, grads)
            schedule.step()
        moves.append(sum(float((p.detach() - b).norm()) for p, b in zip(params, before, strict=True)))
    if not 0 < moves[1] < 0.9 * moves[0]:
        raise Fault(f"at a thousandth of its learning rate a step is {moves[1] / moves[0]:.2g} times as long")


def visible_to_autograd(subject: Subject) -> None:
    """Backpropagation through a value saved before the step is refused: the parameters' versions are counted up."""
    params = subject.parameters()
    optimizer = subject.build(params)
    for param in params:
        output = (param * param).sum()
        subject.step(optimizer, params, subject.gradients(1)[0])
        try:
            output.backward()
        except RuntimeError:
            continue
        raise Fault("autograd does not see that a step changed a parameter: the version counter stands still")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    state_round_trip,
    late_parameters,
    gradients_untouched,
    closure,
    scaler_skip,
    frozen_and_unused_parameters,
    empty_groups,
    memory_layout,
    determinism,
    zero_learning_rate,
    scheduler,
    visible_to_autograd,
)


def _require_rate(optimizer: Optimizer) -> None:
    if any("lr" not in group for group in optimizer.param_groups):
        raise NotApplicable("has no learning rate: its groups hold no lr")


def _strided(value: Tensor) -> Tensor:
    """The same values, channels last (4-d) or transposed in memory."""
    return value.to(memory_format=torch.channels_last) if value.dim() == 4 else value.t().contiguous().t()


def _snapshot(optimizer: Optimizer, params: list[nn.Parameter]) -> Any:
    return copy.deepcopy(optimizer.state_dict()), [param.detach().clone() for param in params]


def _same(first: Any, second: Any) -> bool:
    """Whether two nested structures hold the same bits."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first.nan_to_num(), second.nan_to_num())
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


def _gap(first: Sequence[Tensor], second: Sequence[Tensor]) -> str:
    gap = max((a.detach() - b.detach()).abs().max().item() for a, b in zip(first, second, strict=True))
    return f"up to {gap:.2g} away"


def _change(found: Tensor | None, given: Tensor | None) -> str:
    """Say what became of a gradient, in words."""
    if found is None or given is None:
        return "empty" if found is None else "filled"
    if torch.equal(found, -given):
        return "negated"
    ratio = (found / given)[given != 0]
    if ratio.numel() and torch.allclose(ratio, ratio.mean(), rtol=1e-4):
        return f"multiplied by {ratio.mean().item():.4g}"
    return "changed"
