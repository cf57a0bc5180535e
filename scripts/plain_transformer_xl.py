"""Other forms of Transformer-XL's attention, to measure the suite's against: contexts in which models use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from experiments.models import relative_attention
from experiments.models.relative_attention import RelativeAttention


@contextmanager
def einsum_attention() -> Iterator[None]:
    """Attend as in the authors' code (kimiyoung/transformer-xl, mem_transformer.py): time first, both terms by
    einsum."""
    with patch.object(RelativeAttention, "forward", _by_einsum):
        yield


@contextmanager
def never_fused() -> Iterator[None]:
    """The suite's own operations one after the other, where it would use torch's fused attention."""
    with patch.object(relative_attention, "attention", relative_attention.plain_attention):
        yield


def _by_einsum(
    self: RelativeAttention,
    hidden: Tensor,
    memory: Tensor,
    distances: Tensor,
    key_bias: Tensor,
    distance_bias: Tensor,
    unseen: Tensor,
) -> Tensor:
    """`RelativeAttention.forward`; scores are [time, keys, batch, heads]."""
    present = hidden.transpose(0, 1)
    query = self.query(present).unflatten(-1, (self.heads, self.d_head))
    both = self.key_value(torch.cat([memory.transpose(0, 1), present]))
    keys, values = (part.unflatten(-1, (self.heads, self.d_head)) for part in both.chunk(2, dim=-1))
    positions = self.distance(distances).unflatten(-1, (self.heads, self.d_head))
    by_key = torch.einsum("ibnd,jbnd->ijbn", query + key_bias, keys)
    by_distance = torch.einsum("ibnd,jnd->ijbn", query + distance_bias, positions)
    padded = torch.cat([by_distance.new_zeros(len(by_distance), 1, *by_distance.shape[2:]), by_distance], dim=1)
    shifted = padded.view(by_distance.shape[1] + 1, len(by_distance), *by_distance.shape[2:])[1:].view_as(by_distance)
    scores = ((by_key + shifted) * self.d_head**-0.5).masked_fill(unseen[:, :, None, None], -torch.inf)
    weights = torch.nn.functional.dropout(scores.softmax(1), self.attention_drop, self.training)
    seen = torch.einsum("ijbn,jbnd->ibnd", weights, values).flatten(2).transpose(0, 1)
    return self.norm(hidden + self.drop(self.out(seen)))
