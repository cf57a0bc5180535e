"""Shared by language models that read one long text in columns: the columns of a rank, fresh weights, perplexity."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments import models
from experiments.data import text
from experiments.data.columns import columns
from experiments.data.streams import derive, reseed
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.training.task import Part


class TextColumns:
    """The training text of `corpus` as `global_batch_size` columns, of which a rank reads those of the slice `mine`:
    `tokens` int64 [T, n]. Raises UserError where the text cannot be loaded."""

    def __init__(self, config: RunConfig, part: Part) -> None:
        self.corpus = text.load(config.data)
        share = config.global_batch_size // part.world_size
        self.mine = slice(part.rank * share, (part.rank + 1) * share)
        every_column = columns(self.corpus.train, config.global_batch_size)
        self.tokens = torch.from_numpy(every_column[:, self.mine]).to(part.device, torch.int64)


def fresh_model(config: RunConfig, name: str, part: Part) -> nn.Module:
    """The model, with weights that follow from the seed. Raises UserError where it is not `name`, as a task needs."""
    if config.model.name != name:
        raise UserError(f"model.name={config.model.name}: this task trains {'an' if name[0] == 'a' else 'a'} {name}")
    reseed(derive(config.seed, "initialisation"))
    return models.build(config.model, config.data).to(part.device)


def perplexity(total: Tensor, targets: int) -> float:
    """Return the perplexity of `targets` on all ranks, whose cross-entropies this rank has summed to `total`; finite,
    however bad."""
    if dist.is_initialized():
        dist.all_reduce(total)
    return math.exp(min(total.item() / targets, 700.0))
