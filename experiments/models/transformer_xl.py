"""Transformer-XL (Dai et al. 2019, arXiv 1901.02860): a language model that reads a text segment by segment and sees,
in every layer, the hidden states of the segments before.

No kept library has it any more (transformers dropped it in version 4.36 and later removed it). Sizes, initial values
and dropout are those of the authors' code (kimiyoung/transformer-xl@44781ed:pytorch/mem_transformer.py, train.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from experiments.models.adaptive_softmax import AdaptiveSoftmax
from experiments.models.relative_attention import RelativeAttention, sinusoids
from experiments.schema.errors import UserError


@dataclass(frozen=True)
class Reading:
    """Tells how a segment is read: hidden states of `memory` tokens are kept for the next one; with `same_length` every
    token sees just the `memory` tokens up to itself; distances beyond `clamp` count as `clamp` (0: none does)."""

    memory: int
    same_length: bool = False
    clamp: int = 0


class TransformerXL(nn.Module):
    """The language model, its softmax included; embedding and softmax share their weights."""

    def __init__(
        self,
        vocabulary: int,
        layers: int,
        d_model: int,
        heads: int,
        d_head: int,
        d_inner: int,
        cutoffs: Sequence[int] = (),
        drop: float = 0.0,
        attention_drop: float = 0.0,
        deviation: float = 0.02,
    ) -> None:
        """`vocabulary` words, the most frequent first; `cutoffs` as `AdaptiveSoftmax` takes them; initial weights have
        standard deviation `deviation`."""
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(vocabulary, d_model)
        self.softmax = AdaptiveSoftmax(vocabulary, d_model, cutoffs)
        self.key_bias = nn.Parameter(torch.zeros(heads, d_head))
        self.distance_bias = nn.Parameter(torch.zeros(heads, d_head))
        self.layers = nn.ModuleList(Layer(d_model, heads, d_head, d_inner, drop, attention_drop) for _ in range(layers))
        self.drop = nn.Dropout(drop)
        for parameter in (self.key_bias, self.distance_bias, self.softmax.cluster_weight):
            nn.init.normal_(parameter, 0.0, deviation)
        self.apply(partial(_initialise, deviation))

    def forward(
        self, tokens: Tensor, targets: Tensor, memory: Tensor | None, reading: Reading
    ) -> tuple[Tensor, Tensor]:
        """Read one segment of each of some texts.

        `tokens`, `targets` are int64 [batch, time]; where a target is `NO_TARGET` its loss is 0. `memory`
        [layers, batch, before, d_model] is what the last call returned for the same texts; None at their beginning.
        Returns the negative log-likelihood [batch, time] of the targets and the new memory, without gradient.
        """
        hidden, memory = self.read(tokens, memory, reading)
        losses = self.softmax(hidden.flatten(0, 1), targets.flatten(), self.embedding.weight)
        return losses.view(targets.shape), memory

    def read(self, tokens: Tensor, memory: Tensor | None, reading: Reading) -> tuple[Tensor, Tensor]:
        """The last layer's output [batch, time, d_model], and the new memory."""
        hidden = self.drop(self.embedding(tokens) * self.d_model**0.5)
        if memory is None:
            memory = hidden.new_empty(len(self.layers), len(tokens), 0, self.d_model)
        before, time = memory.shape[2], tokens.shape[1]
        distances = torch.arange(before + time - 1, -1, -1, device=hidden.device).to(self.key_bias.dtype)
        if reading.clamp:
            distances = distances.clamp(max=reading.clamp)
        positions = self.drop(sinusoids(distances, self.d_model))
        unseen = _unseen(before, time, reading, hidden.device)
        kept = []
        for layer, past in zip(self.layers, memory, strict=True):
            kept.append(_last(past, hidden.detach(), reading.memory))
            hidden = layer(hidden, past, positions, self.key_bias, self.distance_bias, unseen)
        return self.drop(hidden), torch.stack(kept)


class Layer(nn.Module):
    """Attention and a network of two layers, each with residual connection and layer norm after it."""

    def __init__(self, d_model: int, heads: int, d_head: int, d_inner: int, drop: float, attention_drop: float) -> None:
        super().__init__()
        self.attention = RelativeAttention(d_model, heads, d_head, drop, attention_drop)
        self.network = nn.Sequential(
            nn.Linear(d_model, d_inner), nn.ReLU(), nn.Dropout(drop), nn.Linear(d_inner, d_model), nn.Dropout(drop)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, hidden: Tensor, *seen: Tensor) -> Tensor:
        """[batch, time, d_model] of the same; `seen` is what `RelativeAttention` takes beside it."""
        hidden = self.attention(hidden, *seen)
        return self.norm(hidden + self.network(hidden))


def build(arguments: dict[str, Any], vocabulary: int, drop: float) -> TransformerXL:
    """The model of `model.arguments`. Raises UserError for arguments that it does not take, or that cannot be."""
    sizes = {key: arguments.get(key) for key in ("layers", "d_model", "heads", "d_head", "d_inner")}
    for key, value in sizes.items():
        if type(value) is not int or value < 1:
            raise UserError(f"model.arguments.{key}={value}: transformer_xl needs an integer of at least 1")
    if arguments["d_model"] % 2:
        raise UserError(f"model.arguments.d_model={arguments['d_model']}: must be even, for sines and cosines")
    cutoffs = arguments.get("cutoffs", [])
    if list(cutoffs) != sorted(set(cutoffs)) or any(cutoff < 1 for cutoff in cutoffs):
        raise UserError(f"model.arguments.cutoffs={cutoffs}: expected growing numbers of words, from 1 on")
    if vocabulary < 1:
        raise UserError("transformer_xl reads texts: choose data= with a vocabulary")
    try:
        return TransformerXL(vocabulary, drop=drop, **arguments)
    except TypeError as error:
        raise UserError(f"model.arguments={arguments} do not suit transformer_xl: {error}") from error


def _unseen(before: int, time: int, reading: Reading, device: torch.device) -> Tensor:
    """Keys [time, before + time] that a token must not see: later ones, and with `same_length` too early ones."""
    everything = torch.ones(time, before + time, dtype=torch.bool, device=device)
    unseen = everything.triu(before + 1)
    if reading.same_length and before + time > reading.memory:
        unseen |= everything.tril(before - reading.memory)
    return unseen


def _last(past: Tensor, hidden: Tensor, size: int) -> Tensor:
    """The last `size` states of both in a row; all, where there are fewer."""
    both = torch.cat([past, hidden], dim=1)
    return both[:, max(0, both.shape[1] - size) :]


def _initialise(deviation: float, module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, deviation)
    elif isinstance(module, nn.LayerNorm):
        nn.init.normal_(module.weight, 1.0, deviation)
    if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
        nn.init.zeros_(module.bias)
