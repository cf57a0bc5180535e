"""The arithmetic of one Adan step, tensor by tensor (`single_tensor`) or list by list (`foreach`).

For a gradient g (already clipped), D its difference from the previous one, step t = 1, 2, ... and the code's betas
(1 minus the paper's):

    m = beta1 m + (1 - beta1) g
    v = beta2 v + (1 - beta2) D
    n = beta3 n + (1 - beta3) (g + beta2 D)^2
    denominator = sqrt(n / (1 - beta3^t)) + eps
    theta = [theta - lr m / (1 - beta1^t) / denominator - lr beta2 v / (1 - beta2^t) / denominator] / (1 + lr decay)

`no_prox` multiplies theta by (1 - lr decay) first instead of dividing at the end. Algorithm 1 of the paper starts from
m0 = g0 and n0 = g0^2; the authors' code starts from zero and corrects the bias, and so does this, because that is
what produced the published numbers.

Both forms do the same operations on every element in the same order. They keep at most one temporary of the size of
what they work on: the difference D lives in the buffer of the previous gradient until that is overwritten.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

LOW_PRECISION = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Hyperparameters:
    """What one group's step needs: numbers only."""

    lr: float
    betas: tuple[float, float, float]
    eps: float
    weight_decay: float
    no_prox: bool

    def bias_corrections(self, step: int) -> tuple[float, float, float]:
        """(1 - beta1^t, 1 - beta2^t, sqrt(1 - beta3^t)) at step t, counted from 1."""
        beta1, beta2, beta3 = self.betas
        return 1 - beta1**step, 1 - beta2**step, math.sqrt(1 - beta3**step)


class Slot(NamedTuple):
    """A parameter with its gradient and states; `step` counts the step about to be made, from 1."""

    param: Tensor
    grad: Tensor
    exp_avg: Tensor
    exp_avg_diff: Tensor
    exp_avg_sq: Tensor
    pre_grad: Tensor
    step: int


def state_dtype(param: Tensor) -> torch.dtype:
    """Type in which the states of `param` are kept and its step is computed: never less than fp32."""
    return torch.float32 if param.dtype in LOW_PRECISION else param.dtype


def global_norm(grads: list[Tensor]) -> Tensor:
    """2-norm over all elements of all `grads` (at least one), as a 0-dim tensor in fp32 or fp64.

    Gradients in half precision are summed in fp32. The device is never waited for.
    """
    norms = [torch.linalg.vector_norm(grad, dtype=state_dtype(grad)) for grad in grads]
    widest = torch.float64 if any(norm.dtype == torch.float64 for norm in norms) else torch.float32
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device, widest) for norm in norms]))


def single_tensor(slots: list[Slot], scale: Tensor | None, hyper: Hyperparameters) -> None:
    """Step every parameter in turn. `scale` (0-dim; None for 1) multiplies the gradients, without changing them."""
    for slot in slots:
        _single(slot, scale, hyper)


def _single(slot: Slot, scale: Tensor | None, hyper: Hyperparameters) -> None:
    param, grad, exp_avg, exp_avg_diff, exp_avg_sq, pre_grad, step = slot
    correction1, correction2, root_correction3 = hyper.bias_corrections(step)
    beta1, beta2, beta3 = hyper.betas
    shrink = hyper.lr * hyper.weight_decay
    grad = grad.to(exp_avg.dtype)
    if scale is not None:
        grad = grad * scale.to(grad.device, grad.dtype)
    if step == 1:
        pre_grad.copy_(grad)

    negative_difference = pre_grad.sub_(grad)
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_diff.mul_(beta2).add_(negative_difference, alpha=beta2 - 1)
    look_ahead = negative_difference.mul_(-beta2).add_(grad)
    exp_avg_sq.mul_(beta3).addcmul_(look_ahead, look_ahead, value=1 - beta3)
    pre_grad.copy_(grad)
    del grad  # the scaled copy makes room for the denominator

    denominator = exp_avg_sq.sqrt().div_(root_correction3).add_(hyper.eps)
    theta = param.to(exp_avg.dtype)
    if hyper.no_prox:
        theta.mul_(1 - shrink)
    theta.addcdiv_(exp_avg, denominator, value=-hyper.lr / correction1)
    theta.addcdiv_(exp_avg_diff, denominator, value=-hyper.lr * beta2 / correction2)
    if not hyper.no_prox:
        theta.div_(1 + shrink)
    if theta is not param:
        param.copy_(theta)


def foreach(slots: list[Slot], scale: Tensor | None, hyper: Hyperparameters) -> None:
    """`single_tensor` with one call per operation for all parameters of a device and type."""
    parts: defaultdict[tuple[torch.device, torch.dtype], list[Slot]] = defaultdict(list)
    for slot in slots:
        parts[slot.param.device, slot.param.dtype].append(slot)
    for part in parts.values():
        _foreach_part(part, scale, hyper)


def _foreach_part(slots: list[Slot], scale: Tensor | None, hyper: Hyperparameters) -> None:
    params, grads, exp_avgs, exp_avg_diffs, exp_avg_sqs, pre_grads, steps = map(list, zip(*slots, strict=True))
    corrections1, corrections2, root_corrections3 = zip(*map(hyper.bias_corrections, steps), strict=True)
    beta1, beta2, beta3 = hyper.betas
    shrink = hyper.lr * hyper.weight_decay
    dtype, device = exp_avgs[0].dtype, params[0].device
    grads = [grad.to(dtype) for grad in grads]
    if scale is not None:
        grads = list(torch._foreach_mul(grads, scale.to(device, dtype)))
    if first := [index for index, step in enumerate(steps) if step == 1]:
        torch._foreach_copy_([pre_grads[index] for index in first], [grads[index] for index in first])

    torch._foreach_sub_(pre_grads, grads)
    negative_differences = pre_grads
    torch._foreach_lerp_(exp_avgs, grads, 1 - beta1)
    torch._foreach_mul_(exp_avg_diffs, beta2)
    torch._foreach_add_(exp_avg_diffs, negative_differences, alpha=beta2 - 1)
    torch._foreach_mul_(negative_differences, -beta2)
    torch._foreach_add_(negative_differences, grads)
    look_aheads = negative_differences
    torch._foreach_mul_(exp_avg_sqs, beta3)
    torch._foreach_addcmul_(exp_avg_sqs, look_aheads, look_aheads, value=1 - beta3)
    torch._foreach_copy_(pre_grads, grads)
    del grads  # scaled copies make room for the denominators

    denominators = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_div_(denominators, root_corrections3)
    torch._foreach_add_(denominators, hyper.eps)
    thetas = [param.to(dtype) for param in params]
    if hyper.no_prox:
        torch._foreach_mul_(thetas, 1 - shrink)
    torch._foreach_addcdiv_(thetas, exp_avgs, denominators, [-hyper.lr / c for c in corrections1])
    torch._foreach_addcdiv_(thetas, exp_avg_diffs, denominators, [-hyper.lr * beta2 / c for c in corrections2])
    if not hyper.no_prox:
        torch._foreach_div_(thetas, 1 + shrink)
    if dtype != params[0].dtype:
        torch._foreach_copy_(params, thetas)
