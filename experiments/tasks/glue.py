"""Fine-tuning on a task of GLUE: a classifier or a regression of one text or two. A loss term is a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments import models
from experiments.data import glue
from experiments.data.glue import Labelled
from experiments.data.passes import Passes, share
from experiments.data.streams import derive, reseed
from experiments.data.subwords import tokenizer
from experiments.models.text_encoders import configuration, library
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.tasks.glue_metrics import in_percent
from experiments.tasks.loss_precision import at_least_float32
from experiments.training import parallel
from experiments.training.task import Loss, Part

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS_AT_A_TIME = 2_000
Tokens = tuple[np.ndarray, np.ndarray]  # of one sample: ids int32, and which of two texts each is of, uint8


@dataclass(frozen=True)
class Batch:
    """A micro-batch on the device: what the model takes, int64 [n, longest] each, and `labels` [n]: classes int64, or
    scores in the number format of the module."""

    inputs: dict[str, Tensor]
    labels: Tensor


class Glue:
    """The `Task` of `bert_glue`. Its weights, but for the head's, are those of a parent or of a checkpoint folder."""

    def __init__(self, config: RunConfig, part: Part) -> None:
        """Raises UserError when data, weights or tokenizer are missing or do not fit."""
        self.config, self.part = config, part
        self.task = glue.task(config.glue.name)
        self.data = glue.load(config.data, config.glue.name)
        reseed(derive(config.seed, "initialisation"))
        if config.init:
            self.module, self.tokenizer = _from_checkpoint(config)
        elif config.parent:
            self.module = models.build(config.model, config.data)
        else:
            raise UserError(f"{config.exp} needs parent= or init=")
        self.module.to(part.device)
        if config.init:
            self._encode_all()
        self.passes = Passes(config.seed, len(self.data.train), config.global_batch_size)

    def adopt(self, module_state: dict[str, Tensor], task_state: dict[str, Any]) -> None:
        """Take the encoder of a parent's module, and the tokenizer that it was trained with. Raises UserError where
        they do not fit."""
        module: Any = self.module
        prefix = f"{module.base_model_prefix}."
        module.base_model.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in module_state.items() if name.startswith(prefix)}
        )
        self.tokenizer = _limited(tokenizer.from_text(task_state["tokenizer"]), self.config)
        self._encode_all()

    def count(self, update: int) -> int:
        """Samples of the whole update: the global batch."""
        return self.config.global_batch_size

    def micro_batches(self, update: int) -> Iterator[Batch]:
        """This rank's micro-batches of `update`."""
        part = self.part
        for rows in share(self.passes.batch(update), part.rank, part.world_size, part.micro_batch):
            yield self._batch("train", rows)

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        """Sum over samples of the cross-entropy, or of the squared error of scores from 0 to 1, in at least float32."""
        return Loss(self._loss(self._logits(module, batch), batch.labels))

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """The task's metrics in percent and `eval_loss`; of MNLI, whose held-out sets are kept apart, each by its name
        (`accuracy_matched`), and `accuracy_both` over all samples of the two."""
        training = module.training
        module.eval()
        predictions, losses = {}, {}
        for name in self.data.held_out:
            predictions[name], losses[name] = self._predict(module, name)
        module.train(training)
        held_out = self.data.held_out
        found: dict[str, float] = {}
        for name, split in held_out.items():
            suffix = f"_{name}" if len(held_out) > 1 else ""
            for metric in self.task.metrics:
                found[metric + suffix] = in_percent(metric, split.labels, predictions[name])
            found[f"eval_loss{suffix}"] = losses[name]
        if len(held_out) > 1:
            labels = np.concatenate([split.labels for split in held_out.values()])
            found["accuracy_both"] = in_percent("accuracy", labels, np.concatenate(list(predictions.values())))
        return found

    def manifest(self) -> dict[str, Any]:
        """Identity of the data and of the tokenizer."""
        return {**self.data.manifest(), "tokenizer": {"digest": tokenizer.digest(self.tokenizer)}}

    def state(self) -> dict[str, Any]:
        """The tokenizer: all else is a function of (seed, update)."""
        return {"tokenizer": self.tokenizer.to_str()}

    def load(self, state: dict[str, Any]) -> None:
        """Raises UserError when the run was begun with another tokenizer."""
        if state["tokenizer"] != self.tokenizer.to_str():
            raise UserError("this run was begun with another tokenizer; force=true begins another")

    def _splits(self) -> dict[str, Labelled]:
        return {"train": self.data.train, **self.data.held_out}

    def _encode_all(self) -> None:
        _refuse_what_does_not_fit(self.module, self.tokenizer.get_vocab_size(), self.config.text.sequence_length)
        self.encoded = {name: self._encode(split) for name, split in self._splits().items()}

    def _encode(self, split: Labelled) -> list[Tokens]:
        single = len(split.texts[0]) == 1
        encoded: list[Tokens] = []
        for start in range(0, len(split), TEXTS_AT_A_TIME):
            texts = [texts[0] if single else texts for texts in split.texts[start : start + TEXTS_AT_A_TIME]]
            encoded += [
                (np.array(one.ids, dtype=np.int32), np.array(one.type_ids, dtype=np.uint8))
                for one in self.tokenizer.encode_batch_fast(texts)
            ]
        return encoded

    def _batch(self, split: str, rows: np.ndarray) -> Batch:
        encoded = [self.encoded[split][row] for row in rows.tolist()]
        longest = max(len(ids) for ids, _ in encoded)
        padding = getattr(self.module.config, "pad_token_id", None) or 0
        tokens = np.full((len(rows), longest), padding, dtype=np.int64)
        kinds, real = np.zeros_like(tokens), np.zeros_like(tokens)
        for row, (ids, parts) in enumerate(encoded):
            tokens[row, : len(ids)], kinds[row, : len(ids)], real[row, : len(ids)] = ids, parts, 1
        inputs = {"input_ids": tokens, "attention_mask": real}
        if getattr(self.module.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = kinds
        labels = torch.from_numpy(self._splits()[split].labels[rows])
        parameter = next(self.module.parameters())
        return Batch(
            {key: torch.from_numpy(values).to(self.part.device, non_blocking=True) for key, values in inputs.items()},
            labels.to(self.part.device, dtype=parameter.dtype if self.task.regression else torch.int64),
        )

    def _logits(self, module: nn.Module, batch: Batch) -> Tensor:
        return at_least_float32(module(**batch.inputs).logits)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.task.regression:
            return F.mse_loss(logits.squeeze(-1), labels, reduction="sum")
        return F.cross_entropy(logits, labels, reduction="sum")

    def _predict(self, module: nn.Module, name: str) -> tuple[np.ndarray, float]:
        """Predictions of a held-out set, float64 [n], and its mean loss: the same on every rank."""
        part, split, size = self.part, self.data.held_out[name], self.config.evaluation.batch_size
        found = torch.zeros(len(split) + 1, dtype=torch.float64, device=part.device)  # and the sum of the losses
        mine = np.arange(part.rank, len(split), part.world_size)
        for start in range(0, len(mine), size):
            rows = mine[start : start + size]
            batch = self._batch(name, rows)
            logits = self._logits(module, batch)
            best = logits.squeeze(-1) if self.task.regression else logits.argmax(1)
            found[rows[0] : rows[-1] + 1 : part.world_size] = best
            found[-1] += self._loss(logits, batch.labels)
        *predictions, loss = parallel.sum_on_device(found).tolist()
        return np.array(predictions), loss / len(split)


def _from_checkpoint(config: RunConfig) -> tuple[nn.Module, Tokenizer]:
    """A classifier with all weights of the folder `config.init` that it has a place for. Raises UserError when it has
    none for any, or there is no tokenizer."""
    place = config.text.tokenizer or config.init or ""
    transformers, outputs = library(), config.data.num_classes
    try:
        module, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            config.init,
            config=configuration({**config.model.arguments, "num_labels": outputs}, strict=False),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"init={config.init}: {error}") from error
    encoder = {name for name in module.state_dict() if name.startswith(f"{module.base_model_prefix}.")}
    random = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    if absent := sorted(name for name in encoder & random if ".pooler." not in name):
        raise UserError(
            f"init={config.init}: the checkpoint has no {absent[0]} of the shape that its config.json says, it is of "
            "another architecture"
        )
    if getattr(module.config, "pad_token_id", None) is None:  # GPT's kin, which classify the last token before it
        end = getattr(module.config, "eos_token_id", None)
        module.config.pad_token_id = end if isinstance(end, int) else 0
    return module, _limited(tokenizer.load(place), config)


def _refuse_what_does_not_fit(module: Any, words: int, length: int) -> None:
    """Raise UserError for more words or longer sequences than the model has embeddings for."""
    known = module.get_input_embeddings().num_embeddings
    if words > known:
        raise UserError(f"the tokenizer has {words} entries, but the model {known} words: it is another model's")
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            # RoBERTa counts positions from the padding token's id + 1.
            positions = part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
            if length > positions:
                raise UserError(
                    f"text.sequence_length={length}: the model has {positions} positions; did you mean "
                    f"text.sequence_length={positions}?"
                )


def _limited(chosen: Tokenizer, config: RunConfig) -> Tokenizer:
    """`chosen`, which cuts the longer text of a pair first, to `text.sequence_length` in all, and pads nothing."""
    chosen.enable_truncation(config.text.sequence_length)
    chosen.no_padding()
    return chosen
