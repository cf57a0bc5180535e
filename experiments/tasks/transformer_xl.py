"""A language model with segment memory: columns of one long text, read segment by segment, the hidden states of the
segments before carried along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from experiments.data.columns import held_out_pieces, segment
from experiments.models.transformer_xl import Reading
from experiments.schema.config import RunConfig
from experiments.tasks.text_columns import TextColumns, fresh_model, perplexity
from experiments.training import parallel
from experiments.training.task import Loss, Part


class Segment(NamedTuple):
    """A micro-batch: `tokens` and `targets` int64 [n, T] of some columns of this rank, and their `memory`
    [layers, n, before, d_model], None at the beginning of the text."""

    tokens: Tensor
    targets: Tensor
    memory: Tensor | None


class TransformerXLTask:
    """The `Task` of Table 9. A loss term is a target; the text begins again, without memory, after its last segment.

    The memory is its state; all else is a function of (seed, update).
    """

    def __init__(self, config: RunConfig, part: Part) -> None:
        """Load the text and build the module. Raises UserError when either is not possible."""
        self.config, self.part = config, part
        self.module: nn.Module = fresh_model(config, "transformer_xl", part)
        text = TextColumns(config, part)
        self.corpus, self.mine, self.columns = text.corpus, text.mine, text.tokens.T
        self.reading = Reading(config.segments.memory)
        self.memory: Tensor | None = None  # [layers, columns of this rank, before, d_model]
        self._after: dict[int, Tensor] = {}  # by place of the micro-batch, of the update that runs

    def count(self, update: int) -> int:
        """Targets of the segment, in all columns."""
        start, stop = self._place(update)
        return (stop - start) * self.config.global_batch_size

    def micro_batches(self, update: int) -> Iterator[Segment]:
        """The segment of `update` in this rank's columns, `micro_batch` of them at a time."""
        start, stop = self._place(update)
        memory = self._settled_memory()
        if start == 0:
            memory = self.memory = None
        for first in range(0, len(self.columns), self.part.micro_batch):
            chosen = slice(first, first + self.part.micro_batch)
            tokens, targets = (self.columns[chosen, start + shift : stop + shift] for shift in (0, 1))
            yield Segment(tokens, targets, None if memory is None else memory[:, chosen])

    def loss(self, module: nn.Module, batch: Segment) -> Loss:
        """Sum over targets of the negative log-likelihood."""
        losses, memory = module(batch.tokens, batch.targets, batch.memory, self.reading)
        return Loss(losses.sum(), carry=(memory,))

    def carry_on(self, place: int, carry: tuple[Tensor, ...]) -> None:
        """Keep the memory after a micro-batch."""
        (self._after[place],) = carry

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Perplexity of the validation and the test text, and of the test text with longer memory where the
        configuration has one: every token but the first of a text is a target once."""
        training, how = module.training, self.config.segments
        module.eval()
        found = {
            "val_ppl": self._perplexity(module, self.corpus.valid, how.length, self.reading),
            "test_ppl": self._perplexity(module, self.corpus.test, how.length, self.reading),
        }
        if how.long_length:
            reading = Reading(how.long_memory, same_length=True, clamp=how.long_clamp)
            found["test_ppl_long_memory"] = self._perplexity(module, self.corpus.test, how.long_length, reading)
        module.train(training)
        return found

    def manifest(self) -> dict[str, Any]:
        """Identity of the text."""
        return self.corpus.manifest()

    def state(self) -> dict[str, Any]:
        """The memory of all columns, in their order."""
        memory = self._settled_memory()
        return {"memory": None if memory is None else parallel.gather(memory, dim=1)}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`: this rank's columns of it."""
        memory, self._after = state["memory"], {}
        self.memory = None if memory is None else memory[:, self.mine].to(next(self.module.parameters()))

    def _settled_memory(self) -> Tensor | None:
        """The memory after the last update: None before the first."""
        if self._after:
            self.memory = torch.cat([self._after[place] for place in sorted(self._after)], dim=1)
            self._after = {}
        return self.memory

    def _place(self, update: int) -> tuple[int, int]:
        """First and last (exclusive) token of the segment of `update` in every column."""
        return segment(update, self.columns.shape[1], self.config.segments.length)

    def _perplexity(self, module: nn.Module, tokens: np.ndarray, length: int, reading: Reading) -> float:
        """`tokens` [size] as `evaluation.batch_size` columns, dealt to the ranks; each begins without memory, so that
        more columns are faster and a little worse."""
        total = torch.zeros(1, dtype=torch.float64, device=self.part.device)
        memory: Tensor | None = None
        rank, world_size = self.part.rank, self.part.world_size
        for piece in held_out_pieces(tokens, self.config.evaluation.batch_size, rank, world_size, length):
            inputs, targets = (torch.from_numpy(part.T).to(self.part.device, torch.int64) for part in piece)
            losses, memory = module(inputs, targets, memory, reading)
            total += losses.sum(dtype=torch.float64)
        return perplexity(total, len(tokens) - 1)
