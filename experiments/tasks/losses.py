"""Classification losses on soft targets. Each is a sum over samples, so that micro-batches and ranks add up.

Label smoothing and mixup are in the targets already (timm smooths the one-hot targets of every loss the same
way), so that one form of each loss serves with and without mixup.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from experiments.schema.errors import UserError, suggestion


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over samples of the mean over classes, as timm's BinaryCrossEntropy averages over both."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1).sum()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over samples of -sum_c target_c log softmax(logits)_c: timm's SoftTargetCrossEntropy, and on smoothed
    one-hot targets its LabelSmoothingCrossEntropy."""
    return -(targets * F.log_softmax(logits, dim=1)).sum()


LOSSES = {
    "bce": binary_cross_entropy,
    "soft_target_cross_entropy": cross_entropy,
    "cross_entropy": cross_entropy,
}


def loss_by_name(name: str):
    """The function of `loss.name`. Raises UserError when there is none."""
    if name not in LOSSES:
        raise UserError(f"loss.name={name!r} is no loss{suggestion(name, LOSSES)}")
    return LOSSES[name]
