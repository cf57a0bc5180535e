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
what produced the published numbers. Decay is computed as theta - lr decay / (1 + lr decay) theta: in fp32 the factor
1 / (1 + lr decay) would lose most of its digits (at lr decay = 3e-6, up to a fiftieth of the decay).

Both forms do the same operations on every element in the same order. They keep at most one temporary of the size of
what they work on: the difference D lives in the buffer of the previous gradient until that is overwritten.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adan import rounding
from adan.slots import Slot


@dataclass(frozen=True)
class Hyperparameters:
    """Holds what one group's step needs: numbers only. `lr` may be a one-element tensor."""

    lr: float | Tensor
    betas: tuple[float, float, float]
    eps: float
    weight_decay: float
    no_prox: bool
    max_grad_norm: float = 0.0

    def bias_corrections(self, step: int) -> tuple[float, float, float]:
        """(1 - beta1^t, 1 - beta2^t, sqrt(1 - beta3^t)) at step t, counted from 1."""
        beta1, beta2, beta3 = self.betas
        return 1 - beta1**step, 1 - beta2**step, math.sqrt(1 - beta3**step)


def compute_dtype(param: Tensor) -> torch.dtype:
    """Type in which a step of `param` is computed: fp64 for fp64, fp32 for everything else."""
    return torch.float64 if param.dtype is torch.float64 else torch.float32


def count_steps(slots: Sequence[Slot]) -> list[int]:
    """Count every slot one step further; return the counts."""
    torch._foreach_add_([slot.step for slot in slots], 1)
    return [int(slot.step) for slot in slots]


def single_tensor(slots: Sequence[Slot], scale: float | Tensor, hyper: Hyperparameters, stochastic: bool) -> None:
    """Step every parameter in turn. `scale` (a number or 0-dim) multiplies the gradients, without changing them.

    `stochastic` says how states in bf16 are rounded (`adan.rounding`); it means nothing for others.
    """
    for slot, step in zip(slots, count_steps(slots), strict=True):
        _single(slot, step, scale, hyper, stochastic)


def _single(slot: Slot, step: int, scale: float | Tensor, hyper: Hyperparameters, stochastic: bool) -> None:
    correction1, correction2, root_correction3 = hyper.bias_corrections(step)
    beta1, beta2, beta3 = hyper.betas
    dtype, lr = compute_dtype(slot.param), float(hyper.lr)
    decay = lr * hyper.weight_decay
    grad = _scaled(slot.grad.to(dtype), scale)
    exp_avg, exp_avg_diff = slot.exp_avg.to(dtype), slot.exp_avg_diff.to(dtype)
    exp_avg_sq, pre_grad = slot.exp_avg_sq.to(dtype), slot.pre_grad.to(dtype)
    if step == 1:
        pre_grad.copy_(grad)

    negative_difference = pre_grad.sub_(grad)
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_diff.mul_(beta2).add_(negative_difference, alpha=beta2 - 1)
    look_ahead = negative_difference.mul_(-beta2).add_(grad)
    exp_avg_sq.mul_(beta3).addcmul_(look_ahead, look_ahead, value=1 - beta3)
    slot.pre_grad.copy_(grad)
    del grad  # the scaled copy makes room for the denominator

    denominator = exp_avg_sq.sqrt().div_(root_correction3).add_(hyper.eps)
    theta = slot.param.to(dtype)
    if hyper.no_prox:
        theta.add_(theta, alpha=-decay)
    theta.addcdiv_(exp_avg, denominator, value=-lr / correction1)
    theta.addcdiv_(exp_avg_diff, denominator, value=-lr * beta2 / correction2)
    if not hyper.no_prox:
        theta.add_(theta, alpha=-decay / (1 + decay))
    if theta is not slot.param:
        slot.param.copy_(theta)
    if slot.exp_avg is not exp_avg:
        words = rounding.words(exp_avg.numel(), rounding.stream(slot.number, step), exp_avg.device)
        for field, value in zip(rounding.FIELDS, (exp_avg, exp_avg_diff, exp_avg_sq), strict=True):
            getattr(slot, field).copy_(rounding.stochastic(value, words, field) if stochastic else value)


def _scaled(grad: Tensor, scale: float | Tensor) -> Tensor:
    if isinstance(scale, Tensor):
        return grad * scale.to(grad.device, grad.dtype)
    return grad if scale == 1.0 else grad * scale


def foreach(slots: Sequence[Slot], scale: float | Tensor, hyper: Hyperparameters, stochastic: bool) -> None:
    """`single_tensor` with one call per operation for all parameters of a device and type.

    Those with states in bf16 are stepped one by one: a list of fp32 copies would grow with the model.
    """
    parts: defaultdict[tuple[torch.device, torch.dtype, torch.dtype], list[Slot]] = defaultdict(list)
    for slot in slots:
        parts[slot.param.device, slot.param.dtype, slot.exp_avg.dtype].append(slot)
    for (_, param_dtype, states_dtype), part in parts.items():
        if states_dtype is torch.bfloat16 and param_dtype is not torch.float64:
            single_tensor(part, scale, hyper, stochastic)
        else:
            _foreach_part(part, scale, hyper)


def _foreach_part(slots: list[Slot], scale: float | Tensor, hyper: Hyperparameters) -> None:
    params, exp_avgs = [slot.param for slot in slots], [slot.exp_avg for slot in slots]
    exp_avg_diffs, exp_avg_sqs = [slot.exp_avg_diff for slot in slots], [slot.exp_avg_sq for slot in slots]
    pre_grads, steps = [slot.pre_grad for slot in slots], count_steps(slots)
    corrections1, corrections2, root_corrections3 = zip(*map(hyper.bias_corrections, steps), strict=True)
    beta1, beta2, beta3 = hyper.betas
    lr = float(hyper.lr)
    decay = lr * hyper.weight_decay
    dtype, device = exp_avgs[0].dtype, params[0].device
    grads = [slot.grad.to(dtype) for slot in slots]
    if isinstance(scale, Tensor):
        grads = list(torch._foreach_mul(grads, scale.to(device, dtype)))
    elif scale != 1.0:
        grads = list(torch._foreach_mul(grads, scale))
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
        torch._foreach_add_(thetas, thetas, alpha=-decay)
    torch._foreach_addcdiv_(thetas, exp_avgs, denominators, [-lr / c for c in corrections1])
    torch._foreach_addcdiv_(thetas, exp_avg_diffs, denominators, [-lr * beta2 / c for c in corrections2])
    if not hyper.no_prox:
        torch._foreach_add_(thetas, thetas, alpha=-decay / (1 + decay))
    if dtype != params[0].dtype:
        torch._foreach_copy_(params, thetas)
