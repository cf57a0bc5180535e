"""An LSTM language model as one writes it with `torch.nn.LSTM`: what bench_language.py sets beside the suite's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.schema import bptt
from experiments.schema.config import RunConfig


class PlainLSTM(nn.Module):
    """Embedding, one nn.LSTM a layer whose recurrent weights drop out, tied output; dropouts as in AWD-LSTM."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int, layers: int, dropouts: dict[str, float]) -> None:
        super().__init__()
        self.encoder = nn.Embedding(vocabulary, embedding)
        self.decoder = nn.Linear(embedding, vocabulary)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        widths = [embedding, *[hidden] * (layers - 1), embedding]
        self.lstms = nn.ModuleList(nn.LSTM(widths[layer], widths[layer + 1]) for layer in range(layers))
        self.raw = nn.ParameterList()
        for lstm in self.lstms:
            self.raw.append(nn.Parameter(lstm.get_parameter("weight_hh_l0").data))
            del lstm._parameters["weight_hh_l0"]
            lstm.weight_hh_l0 = self.raw[-1].data
        self.dropouts = dropouts

    def forward(self, tokens: Tensor, carry: list) -> tuple[Tensor, list, Tensor, Tensor]:
        """Logits, the carry, and the last layer's outputs before and after dropout."""
        weight = self.encoder.weight
        if self.training and self.dropouts["dropout_words"]:
            keep = 1 - self.dropouts["dropout_words"]
            weight = weight * (weight.new_empty(len(weight), 1).bernoulli_(keep) / keep)
        raw = outputs = self.locked(F.embedding(tokens, weight), self.dropouts["dropout_input"])
        after = []
        for index, (lstm, recurrent, before) in enumerate(zip(self.lstms, self.raw, carry, strict=True)):
            lstm.weight_hh_l0 = F.dropout(recurrent, self.dropouts["weight_drop"], self.training)
            raw, (hidden, cell) = lstm(outputs, before)
            after.append((hidden.detach(), cell.detach()))
            last = index == len(self.lstms) - 1
            outputs = self.locked(raw, self.dropouts["dropout" if last else "dropout_hidden"])
        return self.decoder(outputs), after, raw, outputs

    def locked(self, features: Tensor, dropout: float) -> Tensor:
        """One mask for all tokens of a column."""
        if not self.training or not dropout:
            return features
        return features * (features.new_empty(1, *features.shape[1:]).bernoulli_(1 - dropout) / (1 - dropout))


class PlainTrainer:
    """The first updates of a run's recipe, on columns of token ids [length, columns]."""

    def __init__(self, config: RunConfig, columns: Tensor) -> None:
        self.config, self.columns = config, columns
        arguments = dict(config.model.arguments)
        sizes = {key: arguments.pop(key) for key in ("embedding", "hidden", "layers")}
        torch.manual_seed(config.seed)
        self.model = PlainLSTM(config.data.vocabulary, **sizes, dropouts=arguments)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.optim["lr"], weight_decay=config.optim["weight_decay"]
        )
        self.carry = [
            (columns.new_zeros(1, columns.shape[1], recurrent.shape[1], dtype=torch.float32),) * 2
            for recurrent in self.model.raw
        ]
        self.update = 0

    def perform(self, updates: int) -> None:
        """The next updates, all in the first epoch."""
        config, pieces = self.config, bptt.pieces(self.config, 0)
        for position in range(self.update, self.update + updates):
            stop = int(pieces.ends[position])
            start = int(pieces.ends[position - 1]) if position else 0
            tokens, targets = self.columns[start:stop], self.columns[start + 1 : stop + 1]
            for group in self.optimizer.param_groups:
                group["lr"] = config.optim["lr"] * pieces.drawn[position] / config.bptt.length
            self.model.train()
            self.optimizer.zero_grad()
            logits, self.carry, raw, dropped = self.model(tokens, self.carry)
            loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
            loss = loss + config.loss.activation * dropped.pow(2).mean()
            loss = loss + config.loss.slowness * (raw[1:] - raw[:-1]).pow(2).mean()
            loss.backward()
            if config.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_grad_norm)
            self.optimizer.step()
        self.update += updates
