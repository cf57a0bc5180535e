"""Cross-entropy over a large vocabulary that leaves no copies of the logits behind."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from experiments.tasks.loss_precision import at_least_float32

CHUNK = 1 << 20  # logits at a time: they stay in a core's cache


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum over tokens of the cross-entropy of `logits` [tokens, vocabulary] and `targets` int64 [tokens], a scalar
    in at least float32.

    On a CPU the gradient takes the place of the logits, which nothing else may read after `backward`: torch's own
    function makes three fresh arrays of their size, and fresh memory is what it costs there.
    """
    if logits.device.type == "cpu" and logits.requires_grad:
        return _InPlace.apply(logits, targets)
    return F.cross_entropy(at_least_float32(logits), targets, reduction="sum")


class _InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        rows = max(1, CHUNK // logits.shape[1])
        normalisers = torch.cat([at_least_float32(part).logsumexp(1) for part in logits.split(rows)])
        ctx.save_for_backward(logits, targets, normalisers)
        ctx.rows = rows
        chosen = logits.gather(1, targets[:, None]).squeeze(1)
        return (normalisers - chosen).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, targets, normalisers = ctx.saved_tensors
        parts = (tensor.split(ctx.rows) for tensor in (logits, targets, normalisers))
        for part, wanted, normaliser in zip(*parts, strict=True):
            shares = at_least_float32(part).sub_(normaliser[:, None]).exp_()
            shares[torch.arange(len(wanted)), wanted] -= 1
            shares.mul_(gradient)
            if shares is not part:
                part.copy_(shares)
        return logits, None
