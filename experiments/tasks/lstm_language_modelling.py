"""A recurrent language model: columns of one long text, read piece by piece, with the state carried along."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.data.columns import NO_TARGET, held_out_pieces
from experiments.data.streams import derive, reseed
from experiments.models.awd_lstm import AWDLSTM, Carry, Dropped, columns_of, detached, joined
from experiments.schema import bptt
from experiments.schema.config import RunConfig
from experiments.schema.epochs import of_run
from experiments.tasks.loss_precision import at_least_float32
from experiments.tasks.text_columns import TextColumns, fresh_model, perplexity
from experiments.tasks.token_loss import summed_cross_entropy
from experiments.training import parallel
from experiments.training.replays import directly
from experiments.training.task import Loss, Part


class Piece(NamedTuple):
    """A micro-batch: `tokens` and `targets` int64 [T, n] of some columns of this rank, and their `carry` from the piece
    before. `dropped` is the same for all columns of an update, on every rank."""

    tokens: Tensor
    targets: Tensor
    carry: Carry
    dropped: Dropped


class LSTMLanguageModelling:
    """The `Task` of Table 8. A loss term is a target; an epoch reads the columns from their beginnings.

    The carry is its state; all else is a function of (seed, update).
    """

    perform = staticmethod(directly)

    def __init__(self, config: RunConfig, part: Part) -> None:
        """Load the text and build the module. Raises UserError when either is not possible."""
        self.config, self.part = config, part
        self.module: nn.Module = fresh_model(config, "awd_lstm", part)
        self.epochs = of_run(config)
        text = TextColumns(config, part)
        self.corpus, self.mine, self.columns = text.corpus, text.mine, text.tokens
        self.carry: Carry = []
        self._after: dict[int, Carry] = {}  # by place of the micro-batch, of the update that runs

    def count(self, update: int) -> int:
        """Targets of the piece, in all columns."""
        start, stop = self._place(update)
        return (stop - start) * self.config.global_batch_size

    def micro_batches(self, update: int) -> Iterator[Piece]:
        """The piece of `update` in this rank's columns, `micro_batch` of them at a time."""
        start, stop = self._place(update)
        count, size = self.columns.shape[1], self.part.micro_batch
        carry = self._settled_carry()
        if start == 0 or not carry:
            carry = self.carry = self._model.carry(count)
        reseed(derive(self.config.seed, "dropped weights", update), self.part.device)
        dropped = self._model.drop()
        for first in range(0, count, size):
            last = first + size
            tokens, targets = (self.columns[start + shift : stop + shift, first:last] for shift in (0, 1))
            yield Piece(tokens, targets, columns_of(carry, first, last), dropped)

    def loss(self, module: nn.Module, batch: Piece) -> Loss:
        """Sum over targets of the cross-entropy and of what AR and TAR add, both means over the last layer's width."""
        output = module(batch.tokens, batch.carry, batch.dropped)
        length, _, width = output.raw.shape
        total = summed_cross_entropy(output.logits.flatten(0, 1), batch.targets.flatten())
        if self.config.loss.activation:
            size = at_least_float32(output.dropped).square().sum()
            total = total + self.config.loss.activation / width * size
        if self.config.loss.slowness and length > 1:
            # A mean over the length - 1 differences, counted as if there were one for every target.
            weight = self.config.loss.slowness / width * length / (length - 1)
            raw = at_least_float32(output.raw)
            total = total + weight * (raw[1:] - raw[:-1]).square().sum()
        return Loss(total, carry=tuple(part for layer in detached(output.carry) for part in layer))

    def carry_on(self, place: int, carry: tuple[Tensor, ...]) -> None:
        """Keep the carry after a micro-batch, hidden state and cell of each layer in turn."""
        self._after[place] = list(zip(carry[::2], carry[1::2], strict=True))

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Perplexity of the validation and of the test text: every token but the first of a text is a target once."""
        training = module.training
        module.eval()
        perplexities = {
            "val_ppl": self._perplexity(module, self.corpus.valid),
            "test_ppl": self._perplexity(module, self.corpus.test),
        }
        module.train(training)
        return perplexities

    def manifest(self) -> dict[str, Any]:
        """Identity of the text."""
        return self.corpus.manifest()

    def state(self) -> dict[str, Any]:
        """The carry of all columns, in their order."""
        return {"carry": [tuple(parallel.gather(one, dim=1) for one in layer) for layer in self._settled_carry()]}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`: this rank's columns of it."""
        like = next(self.module.parameters())
        carry = [(hidden.to(like), cell.to(like)) for hidden, cell in state["carry"]]
        self.carry, self._after = columns_of(carry, self.mine.start, self.mine.stop), {}

    @property
    def _model(self) -> AWDLSTM:
        assert isinstance(self.module, AWDLSTM)
        return self.module

    def _settled_carry(self) -> Carry:
        """The carry after the last update: empty before the first."""
        if self._after:
            self.carry = joined([self._after[place] for place in sorted(self._after)])
            self._after = {}
        return self.carry

    def _place(self, update: int) -> tuple[int, int]:
        """First and last (exclusive) token of the piece of `update` in every column."""
        epoch, position = self.epochs.of(update)
        ends = bptt.pieces(self.config, epoch).ends
        return (int(ends[position - 1]) if position else 0), int(ends[position])

    def _perplexity(self, module: nn.Module, tokens: Any) -> float:
        """`tokens` [size] as `evaluation.batch_size` columns, dealt to the ranks; each but the first begins with an
        empty carry, so that more columns are faster and a little worse."""
        total = torch.zeros(1, dtype=torch.float64, device=self.part.device)
        carry: Carry = []
        pieces = held_out_pieces(tokens, self.config.evaluation.batch_size, self.part.rank, self.part.world_size)
        for piece in pieces:
            inputs, targets = (torch.from_numpy(part).to(self.part.device, torch.int64) for part in piece)
            carry = carry or self._model.carry(inputs.shape[1])
            read = partial(_read, module)
            surprise, carry = self.perform(("evaluation", id(module)), read, inputs, targets, carry)
            total += surprise
        return perplexity(total, len(tokens) - 1)


def _read(module: nn.Module, inputs: Tensor, targets: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
    """The sum of the cross-entropies of `targets` [T, n], and the carry after them."""
    output = module(inputs, carry)
    logits = at_least_float32(output.logits.flatten(0, 1))
    surprise = F.cross_entropy(logits, targets.flatten(), reduction="sum", ignore_index=NO_TARGET)
    return surprise.double(), output.carry
