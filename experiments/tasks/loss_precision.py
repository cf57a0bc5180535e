"""The precision in which every task computes its loss."""

import torch
from torch import Tensor


def at_least_float32(logits: Tensor) -> Tensor:
    """`logits`, in float32 where they are narrower: a loss is a sum of many small numbers."""
    return logits if logits.dtype == torch.float64 else logits.float()
