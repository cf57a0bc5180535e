"""Image classification: augmented, mixed micro-batches, a loss on soft targets, top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from experiments import data, models
from experiments.data.augmentation import EvaluationTransform, TrainTransform
from experiments.data.batch_augmentation import BatchAugmentation, Normalise, mixes
from experiments.data.reading import EvaluationReader, Stream, TrainReader, read_ahead
from experiments.data.sampler import Share, deal, epoch_order
from experiments.data.streams import derive, reseed
from experiments.schema.config import RunConfig
from experiments.schema.epochs import samples_per_epoch, updates_per_epoch
from experiments.tasks.losses import loss_by_name
from experiments.training.task import Loss, Part


@dataclass(frozen=True)
class Batch:
    """A micro-batch on the device: images [n, channels, height, width] and soft targets [n, classes], in the
    number format of the module."""

    images: Tensor
    targets: Tensor


class ImageClassification:
    """The `Task` of every ImageNet table. A loss term is a sample."""

    def __init__(self, config: RunConfig, part: Part) -> None:
        """Load the data and build the module, initialised on the CPU from the seed.

        Raises UserError when data, model or augmentation are not possible, or when the update cannot be cut
        into the micro-batches of `part`.
        """
        self.config, self.part = config, part
        self.updates_per_epoch = updates_per_epoch(config)
        self.samples = samples_per_epoch(config)
        self.criterion = loss_by_name(config.loss.name)
        train_transform = TrainTransform(config.augmentation, config.data)
        evaluation_transform = EvaluationTransform(config.evaluation, config.data)
        for update in (1, self.updates_per_epoch):
            self._shares(update)

        self.data = data.load(config.data)
        reseed(derive(config.seed, "initialisation"))
        self.module: nn.Module = models.build(config.model, config.data).to(part.device)

        self.augment = BatchAugmentation(config.augmentation, config.data, config.loss.label_smoothing, config.seed)
        self.normalise = Normalise(config.data)
        self.evaluation_reader = EvaluationReader(self.data.test, evaluation_transform)
        self.stream = Stream(
            TrainReader(self.data.train, train_transform, config.seed),
            self._requests,
            last_update=self.updates_per_epoch * config.total_epochs,
            workers=config.data.workers,
            pin_memory=part.device.type == "cuda",
        )
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def count(self, update: int) -> int:
        """Samples of the whole update: the global batch, or what is left of the epoch."""
        start = self._start(update)
        return min(self.config.global_batch_size, self.samples - start)

    def micro_batches(self, update: int) -> Iterator[Batch]:
        """This rank's micro-batches of `update`."""
        requests = self._requests(update)
        for shares, request, read in zip(self._shares(update), requests, self.stream.update(update), strict=True):
            pixels, labels = (tensor.to(self.part.device, non_blocking=True) for tensor in read)
            images, targets = self.augment(pixels, labels, request, update, shares)
            yield Batch(self._as_input(images), self._as_input(targets))

    def loss(self, module: nn.Module, batch: Batch) -> Loss:
        """Sum over samples of the configured loss, computed in at least float32."""
        return Loss(self.criterion(_at_least_float32(module(batch.images)), batch.targets))

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Top-1 and top-5 accuracy in percent and mean cross-entropy on the held-out split, each image once.

        Rank r takes images r, r + world_size, ... All ranks make the same number of forward passes, which
        sharded modules need: a rank that has run out repeats an image without counting it.
        """
        training = module.training
        module.eval()
        rank, world_size, device = self.part.rank, self.part.world_size, self.part.device
        size, batch_size = len(self.data.test), self.config.evaluation.batch_size
        mine = np.arange(rank, size, world_size)
        starts = range(0, -(-size // world_size), batch_size)
        counts = [len(mine[start : start + batch_size]) for start in starts]
        requests = [
            mine[start : start + batch_size] if n else mine[:1] for start, n in zip(starts, counts, strict=True)
        ]
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        answers = read_ahead(self.evaluation_reader, requests, self.config.data.workers, device.type == "cuda")
        for (pixels, labels), n in zip(answers, counts, strict=True):
            images = self._as_input(self.normalise(pixels.to(device, non_blocking=True)))
            sums += _sums(_at_least_float32(module(images))[:n], labels.to(device, non_blocking=True)[:n])
        if dist.is_initialized():
            dist.all_reduce(sums)
        module.train(training)
        top1, top5, loss = (sums / size).tolist()
        return {"top1": 100 * top1, "top5": 100 * top5, "eval_loss": loss}

    def manifest(self) -> dict[str, Any]:
        """Identity of the data set."""
        return self.data.manifest()

    def state(self) -> dict[str, Any]:
        """Empty: batches are functions of (seed, update)."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

    def _start(self, update: int) -> int:
        """Position in the epoch's order at which the global batch of `update` starts."""
        return (update - 1) % self.updates_per_epoch * self.config.global_batch_size

    def _epoch_order(self, epoch: int) -> np.ndarray:
        return epoch_order(self.config.seed, epoch, self.config.data.train_size, self.config.augmentation.repeats)

    def _shares(self, update: int) -> tuple[tuple[Share, ...], ...]:
        return deal(
            self.count(update),
            self.config.batch_per_device,
            self.part.micro_batch,
            self.part.rank,
            self.part.world_size,
            paired=mixes(self.config.augmentation),
        )

    def _requests(self, update: int) -> list[np.ndarray]:
        """Samples of this rank's micro-batches: int64 [n, 3] of (epoch, index, copy) each."""
        epoch = (update - 1) // self.updates_per_epoch
        start = self._start(update)
        batch = self._order(epoch)[start : start + self.count(update)]
        chosen = [np.concatenate([share.positions for share in shares]) for shares in self._shares(update)]
        return [np.column_stack([np.full(len(rows), epoch), batch[rows]]) for rows in chosen]

    def _as_input(self, tensor: Tensor) -> Tensor:
        parameter = next(self.module.parameters())
        last = self.config.model.channels_last and tensor.ndim == 4
        return tensor.to(parameter.dtype, memory_format=torch.channels_last if last else torch.preserve_format)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over samples of (in top 1, in top 5, cross-entropy): float64 [3]."""
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = (ranked == labels[:, None]).double()
    loss = F.cross_entropy(logits.double(), labels, reduction="sum")
    return torch.stack([hits[:, 0].sum(), hits.sum(), loss])
