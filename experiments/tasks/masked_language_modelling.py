"""Masked language modelling of packed documents: BERT's pre-training as RoBERTa does it. A loss term is a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments import models
from experiments.data import subwords
from experiments.data.passes import Passes, share
from experiments.data.streams import derive, reseed
from experiments.data.subwords import tokenizer
from experiments.data.subwords.masking import Masked, Vocabulary, mask
from experiments.data.subwords.packing import PackedSequences
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.tasks.loss_precision import at_least_float32
from experiments.training import parallel
from experiments.training.task import Loss, Part

EVALUATION_SEED = 0  # the targets of the held-out documents belong to the data set, not to the run
ROOM_FOR_POSITIONS = 2  # RoBERTa counts positions from the padding token's id + 1


@dataclass(frozen=True)
class Batch:
    """A micro-batch on the device: `input_ids` [n, longest], `attention_mask` of the same shape (None without padding),
    `places` [targets] in the batch laid out row by row, and the words that were there, `targets` [targets]."""

    input_ids: Tensor
    attention_mask: Tensor | None
    places: Tensor
    targets: Tensor


class MaskedLanguageModelling:
    """The `Task` of `bert_pretrain`. Sequences and masks are functions of (seed, update); its state is the tokenizer,
    so that a checkpoint is all that fine-tuning needs."""

    def __init__(self, config: RunConfig, part: Part) -> None:
        """Raises UserError when data or model are not possible."""
        self.config, self.part = config, part
        arguments, length = config.model.arguments, config.text.sequence_length
        positions = arguments.get("max_position_embeddings", length + ROOM_FOR_POSITIONS) - ROOM_FOR_POSITIONS
        if length > positions:
            raise UserError(f"text.sequence_length={length}: the model has {positions} positions")
        self.corpus = subwords.load(config.data, config.text, arguments.get("vocab_size", 50265))
        self.tokenizer = self.corpus.tokenizer
        special = tokenizer.special_ids(self.tokenizer)
        self.vocabulary = Vocabulary.of(self.tokenizer.get_vocab_size(), special)
        ends = (special["<s>"], special["</s>"], special["<pad>"])
        self.train = PackedSequences(self.corpus.train, length, *ends)
        self.held_out = PackedSequences(self.corpus.held_out, length, *ends)
        self.passes = Passes(config.seed, len(self.train), config.global_batch_size)
        self.masked = lru_cache(maxsize=1)(self._masked)
        reseed(derive(config.seed, "initialisation"))
        self.module: nn.Module = models.build(config.model, config.data).to(part.device)

    def count(self, update: int) -> int:
        """Targets of the whole update."""
        return self.masked(update).count

    def micro_batches(self, update: int) -> Iterator[Batch]:
        """This rank's micro-batches of `update`."""
        masked, part = self.masked(update), self.part
        for rows in share(np.arange(self.config.global_batch_size), part.rank, part.world_size, part.micro_batch):
            yield self._batch(masked, rows)

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        """Sum of cross-entropies over targets, in nats, computed in at least float32."""
        logits = module(batch.input_ids, batch.attention_mask, batch.places)
        return Loss(F.cross_entropy(at_least_float32(logits), batch.targets, reduction="sum"))

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """`val_loss`, cross-entropy in nats a target of the held-out documents, `val_ppl`, its exponential, and
        `masked_accuracy` in percent. The targets are the same for every run."""
        training = module.training
        module.eval()
        part, size = self.part, self.config.evaluation.batch_size
        mine = np.arange(part.rank, len(self.held_out), part.world_size)
        sums = torch.zeros(3, dtype=torch.float64, device=part.device)
        for start in range(0, len(mine), size):
            indices = mine[start : start + size]
            batch = self._batch(self._masked_for_evaluation(indices), np.arange(len(indices)))
            logits = at_least_float32(module(batch.input_ids, batch.attention_mask, batch.places))
            surprise = F.cross_entropy(logits.double(), batch.targets, reduction="sum")
            count = surprise.new_full((), len(batch.targets))
            sums += torch.stack([surprise, (logits.argmax(1) == batch.targets).sum(), count])
        module.train(training)
        loss, hits, targets = parallel.sum_on_device(sums).tolist()
        return {
            "val_loss": loss / targets,
            "val_ppl": float(np.exp(loss / targets)),
            "masked_accuracy": 100 * hits / targets,
        }

    def manifest(self) -> dict[str, Any]:
        """Identity of documents and tokenizer, and how many sequences they were packed into."""
        packed = {"train": len(self.train), "held_out": len(self.held_out)}
        return {**self.corpus.manifest, "sequences": packed}

    def state(self) -> dict[str, Any]:
        """The tokenizer."""
        return {"tokenizer": self.tokenizer.to_str()}

    def load(self, state: dict[str, Any]) -> None:
        """Raises UserError when the run was begun with another tokenizer."""
        if state["tokenizer"] != self.tokenizer.to_str():
            raise UserError(
                "this run was begun with another tokenizer, or on another corpus; force=true begins another"
            )

    def _masked(self, update: int) -> Masked:
        rows = self.train.rows(self.passes.batch(update))
        return mask(rows, self.config.text, self.vocabulary, self.config.seed, update)

    def _masked_for_evaluation(self, indices: np.ndarray) -> Masked:
        """Each sequence by its own stream, so that no split of them changes the targets."""
        rows, text = self.held_out.rows(indices), self.config.text
        each = [
            mask(row[None], text, self.vocabulary, EVALUATION_SEED, index)
            for row, index in zip(rows, indices.tolist(), strict=True)
        ]
        return Masked(np.concatenate([one.inputs for one in each]), np.concatenate([one.chosen for one in each]), rows)

    def _batch(self, masked: Masked, rows: np.ndarray) -> Batch:
        tokens, chosen = masked.tokens[rows], masked.chosen[rows]
        longest = int((tokens != self.vocabulary.padding).sum(axis=1).max())
        tokens, chosen = tokens[:, :longest], chosen[:, :longest]
        real = tokens != self.vocabulary.padding
        places = np.flatnonzero(chosen)
        return Batch(
            self._to_device(masked.inputs[rows][:, :longest]),
            None if real.all() else self._to_device(real.astype(np.int64)),
            self._to_device(places),
            self._to_device(tokens.reshape(-1)[places]),
        )

    def _to_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.part.device, non_blocking=True)
