"""AWD-LSTM (Merity et al. 2017, arXiv 1708.02182): LSTM layers with dropped recurrent weights and locked dropout.

The input embedding is the output's weight, so the last layer is as wide as the embedding (Inan et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.schema.errors import UserError

Carry = list[tuple[Tensor, Tensor]]

SIZES = ("embedding", "hidden", "layers")
DROPOUTS = ("dropout", "dropout_hidden", "dropout_input", "dropout_words", "weight_drop")


class Output(NamedTuple):
    """The model gives for tokens [T, n]: `logits` [T, n, vocabulary]; the `carry` after the last; what the last layer
    gave, `raw` and with `dropped` outputs [T, n, embedding]."""

    logits: Tensor
    carry: Carry
    raw: Tensor
    dropped: Tensor


class Dropped(NamedTuple):
    """Factors of one update, 0 or 1 / (1 - rate): of every word [vocabulary], and of every layer's recurrent weights
    [4 width, width]; None where nothing drops."""

    words: Tensor | None
    recurrent: list[Tensor | None]


class AWDLSTM(nn.Module):
    """`layers` LSTM layers, `hidden` wide but for the last, over a tied embedding of width `embedding`.

    `dropout` falls on the last layer's outputs, `dropout_hidden` on those of the layers before, `dropout_input` on the
    embeddings, each with one mask for all tokens of a column; `dropout_words` takes out whole words, `weight_drop`
    single recurrent weights, one choice (`drop`) for all columns of an update.

    Without `train_recurrent` the recurrent weights stay as they were initialised: in the code of AdaBelief's runs
    (weight_drop.py at 2855178) they are copied into a new parameter in every pass, and no gradient reaches them.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int = 400,
        hidden: int = 1150,
        layers: int = 3,
        dropout: float = 0.4,
        dropout_hidden: float = 0.25,
        dropout_input: float = 0.4,
        dropout_words: float = 0.1,
        weight_drop: float = 0.5,
        train_recurrent: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.widths = [embedding, *[hidden] * (layers - 1), embedding]
        self.layers = nn.ModuleList(
            WeightDropLSTM(inner, outer, train_recurrent) for inner, outer in pairwise(self.widths)
        )
        self.dropout, self.dropout_hidden, self.dropout_input = dropout, dropout_hidden, dropout_input
        self.dropout_words, self.weight_drop = dropout_words, weight_drop

    def carry(self, columns: int) -> Carry:
        """Return the carry of a text's beginning: zeros [1, columns, width] for outputs and cells of every layer."""
        weight = self.embedding.weight
        return [(weight.new_zeros(1, columns, width), weight.new_zeros(1, columns, width)) for width in self.widths[1:]]

    def drop(self) -> Dropped:
        """Draw what drops out of the model itself from torch's global generator of the device."""
        weights = [layer.get_parameter("weight_hh") for layer in self.layers]
        return Dropped(
            _factors(self.embedding.weight[:, 0], self.dropout_words),
            [_factors(weight, self.weight_drop) for weight in weights],
        )

    def forward(self, tokens: Tensor, carry: Carry, dropped: Dropped | None = None) -> Output:
        """Predict what follows each of `tokens` int64 [T, n], which follow those that led to `carry`."""
        features = self.embedding(tokens)
        if dropped is not None and dropped.words is not None:
            features = features * dropped.words[tokens].unsqueeze(-1)
        features = self._locked(features, self.dropout_input)
        recurrent = dropped.recurrent if dropped is not None else [None] * len(self.layers)
        carried: Carry = []
        raw = features
        for index, (layer, before, factors) in enumerate(zip(self.layers, carry, recurrent, strict=True)):
            raw, after = layer(features, before, factors)
            carried.append(after)
            last = index == len(self.layers) - 1
            features = self._locked(raw, self.dropout if last else self.dropout_hidden)
        return Output(F.linear(features, self.embedding.weight, self.bias), carried, raw, features)

    def _locked(self, features: Tensor, dropout: float) -> Tensor:
        """Dropout of [T, n, width] with one mask [1, n, width] for all T."""
        factors = _factors(features[:1], dropout) if self.training else None
        return features if factors is None else features * factors


def _factors(like: Tensor, dropout: float) -> Tensor | None:
    """Factors of inverted dropout in the shape of `like`; None where nothing drops."""
    if not dropout:
        return None
    return torch.empty_like(like).bernoulli_(1 - dropout).div_(1 - dropout)


class WeightDropLSTM(nn.Module):
    """One LSTM layer whose recurrent weights drop out, torch's kernels and initialisation (uniform within
    1 / sqrt(width)); gates in torch's order."""

    def __init__(self, inner: int, width: int, train_recurrent: bool) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * width, inner).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(4 * width, width).uniform_(-bound, bound), train_recurrent)
        self.bias_ih = nn.Parameter(torch.empty(4 * width).uniform_(-bound, bound))
        self.bias_hh = nn.Parameter(torch.empty(4 * width).uniform_(-bound, bound))

    def forward(
        self, features: Tensor, carry: tuple[Tensor, Tensor], factors: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """[T, n, inner] to [T, n, width], and the carry after them; `factors` drop recurrent weights."""
        recurrent = self.weight_hh if factors is None else self.weight_hh * factors
        weights = [self.weight_ih, recurrent, self.bias_ih, self.bias_hh]
        outputs, hidden, cell = torch.lstm(features, carry, weights, True, 1, 0.0, self.training, False, False)
        return outputs, (hidden, cell)


def build(arguments: dict[str, Any], vocabulary: int) -> AWDLSTM:
    """A network for `vocabulary` words. Raises UserError for `model.arguments` that it does not take."""
    for key, value in arguments.items():
        if key in SIZES and not (type(value) is int and value >= 1):
            raise UserError(f"model.arguments.{key}={value}: awd_lstm needs an integer of at least 1")
        if key in DROPOUTS and not (isinstance(value, (int, float)) and 0 <= value < 1):
            raise UserError(f"model.arguments.{key}={value}: awd_lstm needs a share from 0 on and below 1")
    try:
        return AWDLSTM(vocabulary, **arguments)
    except TypeError as error:
        raise UserError(f"model.arguments={arguments} do not suit awd_lstm: {error}") from error


def detached(carry: Carry) -> Carry:
    """The same numbers without how they came about."""
    return [(hidden.detach(), cell.detach()) for hidden, cell in carry]


def columns_of(carry: Carry, start: int, stop: int) -> Carry:
    """The carry of some columns."""
    return [(hidden[:, start:stop], cell[:, start:stop]) for hidden, cell in carry]


def joined(parts: Sequence[Carry]) -> Carry:
    """Inverse of cutting into columns."""
    return [
        (torch.cat([hidden for hidden, _ in layer], dim=1), torch.cat([cell for _, cell in layer], dim=1))
        for layer in zip(*parts, strict=True)
    ]
