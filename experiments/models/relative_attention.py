"""Attention that sees how far back a token stands, not where (Dai et al. 2019, arXiv 1901.02860, section 3.3).

The score of query i and key j at distance d is ((q_i + u) . k_j + (q_i + v) . r_d) / sqrt(d_head), with r_d a learnt
map of the sinusoids of d. A key's distance differs from query to query, so the second term is computed by distance and
then shifted.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MULTIPLE = 8  # of the width of a head, which fused kernels on GPUs ask for


def sinusoids(distances: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of every distance: [distances, width], in their number format."""
    powers = torch.arange(0, width, 2, dtype=distances.dtype, device=distances.device) / width
    angles = distances[:, None] / 10000**powers
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def shifted(scores: Tensor) -> Tensor:
    """From scores by distance to scores by key: [..., queries, keys] both.

    Column c of `scores` is for distance keys - 1 - c; query i is key keys - queries + i. Where a key comes after its
    query the result means nothing: mask it.
    """
    *others, queries, keys = scores.shape
    return F.pad(scores, (1, 0)).view(*others, keys + 1, queries)[..., 1:, :].reshape(scores.shape)


def plain_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, drop: float) -> Tensor:
    """softmax(query key^T + bias) value, one after the other; [batch, heads, time, d_head], bias [..., time, keys]."""
    weights = F.dropout((query @ key.transpose(-1, -2) + bias).softmax(-1), drop)
    return weights @ value


def fused_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, drop: float) -> Tensor:
    """The same by torch's fused attention."""
    width = query.shape[-1]
    if query.is_cuda and width % MULTIPLE:
        query, key, value = (F.pad(tensor, (0, -width % MULTIPLE)) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, bias, drop, scale=1.0)[..., :width]


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, drop: float) -> Tensor:
    """The faster of the two. Torch has no fused kernel on a CPU where the bias has a gradient
    (scripts/bench_language.py measures both)."""
    fused = query.is_cuda or not bias.requires_grad
    return (fused_attention if fused else plain_attention)(query, key, value, bias, drop)


class RelativeAttention(nn.Module):
    """Multi-head attention of a segment to its memory and itself, with residual connection and layer norm after it."""

    def __init__(self, d_model: int, heads: int, d_head: int, drop: float, attention_drop: float) -> None:
        super().__init__()
        self.heads, self.d_head, self.attention_drop = heads, d_head, attention_drop
        self.query = nn.Linear(d_model, heads * d_head, bias=False)
        self.key_value = nn.Linear(d_model, 2 * heads * d_head, bias=False)
        self.distance = nn.Linear(d_model, heads * d_head, bias=False)
        self.out = nn.Linear(heads * d_head, d_model, bias=False)
        self.drop = nn.Dropout(drop)
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self, hidden: Tensor, memory: Tensor, distances: Tensor, key_bias: Tensor, distance_bias: Tensor, unseen: Tensor
    ) -> Tensor:
        """`hidden` [batch, time, d_model] sees `memory` [batch, before, d_model] and itself, but for `unseen`
        [time, before + time]; `distances` [before + time, d_model] are sinusoids, the farthest first; the biases u and
        v of the equation above are [heads, d_head]. Returns [batch, time, d_model]."""
        query = self._heads(self.query(hidden))
        keys, values = self.key_value(torch.cat([memory, hidden], dim=1)).chunk(2, dim=-1)
        by_distance = self._heads(self.distance(distances)[None])
        scale = self.d_head**-0.5
        bias = shifted((query + distance_bias[:, None]) @ (by_distance * scale).transpose(-1, -2))
        bias = bias.masked_fill(unseen, -torch.inf)
        content = ((query + key_bias[:, None]) * scale).to(keys.dtype)  # autocast left it wider
        drop = self.attention_drop if self.training else 0.0
        seen = attention(content, self._heads(keys), self._heads(values), bias, drop)
        return self.norm(hidden + self.drop(self.out(seen.transpose(1, 2).flatten(2))))

    def _heads(self, tensor: Tensor) -> Tensor:
        """[batch, time, heads x d_head] as [batch, heads, time, d_head]."""
        return tensor.unflatten(-1, (self.heads, self.d_head)).transpose(1, 2)
