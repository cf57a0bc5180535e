"""transformers' Trainer on the model and the sequences of a pre-training run: what bench_language.py sets beside it.

Needs the package accelerate.
"""

from __future__ import annotations

import tempfile
import threading
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import Dataset

from experiments.models.text_encoders import configuration
from experiments.schema.config import RunConfig
from experiments.tasks.masked_language_modelling import MaskedLanguageModelling


class Sequences(Dataset):
    """The packed sequences of a task, without padding."""

    def __init__(self, task: MaskedLanguageModelling) -> None:
        self.sequences, self.padding = task.train, task.vocabulary.padding

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, Any]:
        (row,) = self.sequences.rows(np.array([index]))
        return {"input_ids": row[row != self.padding].tolist()}


class TransformersTrainer:
    """A Trainer that goes on by so many updates when told to, in a thread of its own, and then waits: what it does
    before the first update counts nowhere. Masks are those of transformers' collator; the optimizer is its AdamW."""

    def __init__(self, config: RunConfig, task: MaskedLanguageModelling, updates: int) -> None:
        self.permits, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.threads = torch.get_num_threads()
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=task.tokenizer,
            **{"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"},
            **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
        )
        model = transformers.RobertaForMaskedLM(configuration({"model_type": "roberta", **config.model.arguments}))
        self.folder = tempfile.TemporaryDirectory()
        arguments = transformers.TrainingArguments(
            self.folder.name,
            max_steps=updates,
            per_device_train_batch_size=config.global_batch_size,
            learning_rate=config.optim["lr"],
            max_grad_norm=config.clip_grad_norm or 0.0,
            bf16=config.precision == "bf16",
            fp16=config.precision == "fp16",
            use_cpu=True,  # as the suite's side: what is measured is processor time
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=config.text.mask_probability)
        trainer = transformers.Trainer(
            model, arguments, data_collator=collator, train_dataset=Sequences(task), callbacks=[_WhenTold(self)]
        )
        self.thread = threading.Thread(target=self._train, args=(trainer,), daemon=True)
        self.thread.start()

    def perform(self, updates: int) -> None:
        """Let the Trainer go on by so many updates. Raises RuntimeError when it has ended."""
        for _ in range(updates):
            self.permits.release()
        for _ in range(updates):
            while not self.done.acquire(timeout=1.0):
                if not self.thread.is_alive():
                    raise RuntimeError("the Trainer has ended")

    def _train(self, trainer: transformers.Trainer) -> None:
        torch.set_num_threads(self.threads)
        trainer.train()


class _WhenTold(transformers.TrainerCallback):
    def __init__(self, owner: TransformersTrainer) -> None:
        self.owner = owner

    def on_step_begin(self, *arguments: Any, **keywords: Any) -> None:
        self.owner.permits.acquire()

    def on_step_end(self, *arguments: Any, **keywords: Any) -> None:
        self.owner.done.release()
