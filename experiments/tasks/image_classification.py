"""Image classification: augmented, mixed micro-batches, a loss on soft targets, top-1 and top-5 accuracy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from experiments import data, models
from experiments.data.augmentation import EvaluationTransform, TrainTransform
from experiments.data.batch_augmentation import BatchAugmentation, Normalise
from experiments.data.device_batches import DeviceBatches, DeviceHeldOut, HeldOutKeys, Keys
from experiments.data.readable import require_readable
from experiments.data.reading import EvaluationReader, Pixels, Stream, TrainReader, read_ahead
from experiments.data.streams import derive, reseed
from experiments.data.updates import UpdateSamples
from experiments.schema.batches import unit
from experiments.schema.config import RunConfig
from experiments.schema.epochs import samples_per_epoch, updates_per_epoch
from experiments.schema.errors import UserError
from experiments.schema.validation import validation_name
from experiments.tasks.batch_statistics import require_batch_statistics
from experiments.tasks.loss_precision import at_least_float32
from experiments.tasks.losses import loss_by_name
from experiments.training.replays import directly
from experiments.training.task import Loss, Part


class Batch(NamedTuple):
    """A micro-batch on the device: images [n, channels, height, width] and soft targets [n, classes], in the
    number format of the module."""

    images: Tensor
    targets: Tensor


class ImageClassification:
    """The `Task` of every ImageNet table. A loss term is a sample."""

    perform = staticmethod(directly)

    def __init__(self, config: RunConfig, part: Part) -> None:
        """Load the data and build the module, initialised on the CPU from the seed.

        Raises UserError when data, model or augmentation are not possible, or when the update cannot be cut
        into the micro-batches of `part`.
        """
        self.config, self.part = config, part
        self.updates_per_epoch = updates_per_epoch(config)
        if self.updates_per_epoch < 1:
            raise UserError(
                f"{config.data.trained_size} training images are less than one batch of {config.global_batch_size}"
            )
        require_batch_statistics(config)
        self.criterion = loss_by_name(config.loss.name)
        self.samples = UpdateSamples(
            seed=config.seed,
            size=config.data.trained_size,
            samples=samples_per_epoch(config),
            repeats=config.augmentation.repeats,
            updates_per_epoch=self.updates_per_epoch,
            batch_size=config.global_batch_size,
            batch_per_device=config.batch_per_device,
            micro_batch=part.micro_batch,
            rank=part.rank,
            world_size=part.world_size,
            paired=unit(config) > 1,
        )
        for update in (1, self.updates_per_epoch):
            self.samples.shares(update)
        self.data = data.load(config.data)
        require_readable(self.data.train, held_out=False)
        require_readable(self.data.test, held_out=True, side=None if config.data.resize else config.data.image_size)
        reseed(derive(config.seed, "initialisation"))
        self.module: nn.Module = models.build(config.model, config.data).to(part.device)
        self.normalise = Normalise(config.data)
        self.answers = torch.zeros(4, dtype=torch.float64, device=part.device)  # sums of an evaluation
        self.device_batches: DeviceBatches | None = None
        self.device_held_out: DeviceHeldOut | None = None
        if config.augmentation.pipeline == "batched":
            self._hold_on_device()
        else:
            self._read_on_host()

    def count(self, update: int) -> int:
        """Samples of the whole update: the global batch, or what is left of the epoch."""
        return self.samples.count(update)

    def micro_batches(self, update: int) -> Iterator[Batch | Keys]:
        """This rank's micro-batches of `update`, or what `loss` makes them from on the device."""
        if self.device_batches is not None:
            yield from self.device_batches.update(self.samples, update)
            return
        shares, requests = self.samples.shares(update), self.samples.requests(update)
        for shares_of_one, request, read in zip(shares, requests, self.stream.update(update), strict=True):
            pixels, labels = (tensor.to(self.part.device, non_blocking=True) for tensor in read)
            images, targets = self.augment(pixels, labels, request, update, shares_of_one)
            yield Batch(self._as_input(images), self._as_input(targets))

    def loss(self, module: nn.Module, batch: Batch | Keys) -> Loss:
        """Sum over samples of the configured loss, computed in at least float32."""
        if isinstance(batch, Keys):
            batch = self.made(batch)
        return Loss(self.criterion(at_least_float32(module(batch.images)), batch.targets))

    def made(self, keys: Keys) -> Batch:
        """The micro-batch of `keys`, of a run whose images lie on the device."""
        assert self.device_batches is not None
        images, targets = self.device_batches.made(keys)
        return Batch(self._as_input(images), self._as_input(targets))

    @torch.no_grad()
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Top-1 and top-5 accuracy in percent and mean cross-entropy on the held-out split, each image once; with
        `evaluation.augmented_copies` also the top-1 accuracy `augmented_top1` of the mean of the probabilities of an
        image and its copies (fastai 0.7, courses/dl2 TTA: four copies). With `data.validation_fraction` all names begin
        with `val_`: the held-out split is then part of the training set.

        Rank r takes images r, r + world_size, ... All ranks make the same number of forward passes, which
        sharded modules need: a rank that has run out repeats an image without counting it.
        """
        training = module.training
        module.eval()
        rank, world_size = self.part.rank, self.part.world_size
        size, batch_size = len(self.data.test), self.config.evaluation.batch_size
        mine = np.arange(rank, size, world_size)
        starts = range(0, -(-size // world_size), batch_size)
        counts = [len(mine[start : start + batch_size]) for start in starts]
        requests = [
            mine[start : start + batch_size] if n else mine[:1] for start, n in zip(starts, counts, strict=True)
        ]
        sums = self.answers.zero_()
        for batch, n in zip(self._held_out(requests), counts, strict=True):
            add = partial(self._add_answers, module)
            self.perform(("evaluation", id(module)), add, batch, n, changes=[sums])
        if dist.is_initialized():
            dist.all_reduce(sums)
        module.train(training)
        top1, top5, loss, augmented_top1 = (sums / size).tolist()
        metrics = {"top1": 100 * top1, "top5": 100 * top5, "eval_loss": loss}
        if self.config.evaluation.augmented_copies:
            metrics["augmented_top1"] = 100 * augmented_top1
        if self.config.data.validation_fraction:
            return {validation_name(name): value for name, value in metrics.items()}
        return metrics

    def manifest(self) -> dict[str, Any]:
        """Identity of the data set."""
        return self.data.manifest()

    def state(self) -> dict[str, Any]:
        """Empty: batches are functions of (seed, update)."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

    def _hold_on_device(self) -> None:
        """Both splits on the device: see `device_batches`."""
        config, augmentation, device = self.config, self.config.augmentation, self.part.device
        smoothing, copies = config.loss.label_smoothing, config.evaluation.augmented_copies
        self.device_batches = DeviceBatches(self.data.train, augmentation, config.data, smoothing, config.seed, device)
        self.device_held_out = DeviceHeldOut(self.data.test, augmentation, config.data, copies, config.seed, device)

    def _read_on_host(self) -> None:
        """Both splits read and augmented image by image: see `reading` and `batch_augmentation`."""
        config, augmentation = self.config, self.config.augmentation
        self.workers, self.pin_memory = min(config.data.workers, os.cpu_count() or 1), self.part.device.type == "cuda"
        self.augment = BatchAugmentation(augmentation, config.data, config.loss.label_smoothing, config.seed)
        self.evaluation_reader = EvaluationReader(self.data.test, EvaluationTransform(config.evaluation, config.data))
        self.stream = Stream(
            TrainReader(self.data.train, TrainTransform(augmentation, config.data), config.seed),
            self.samples,
            last_update=self.updates_per_epoch * config.total_epochs,
            workers=self.workers,
            pin_memory=self.pin_memory,
        )

    def _held_out(self, requests: list[np.ndarray]) -> Iterable[Pixels | HeldOutKeys]:
        """Held-out images and their labels, on the device, or what they are made from there."""
        if self.device_held_out is not None:
            yield from self.device_held_out.batches(requests)
            return
        device = self.part.device
        for pixels, labels in read_ahead(self.evaluation_reader, requests, self.workers, self.pin_memory):
            yield pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    def _add_answers(self, module: nn.Module, batch: Pixels | HeldOutKeys, n: int) -> None:
        """Add what is right of the first `n` images, and how wrong it is, to the sums of the evaluation."""
        copies: Iterable[Tensor] = ()
        if isinstance(batch, HeldOutKeys):
            assert self.device_held_out is not None
            copies = self.device_held_out.made_copies(batch)
            batch = self.device_held_out.made(batch)
        pixels, labels = batch
        logits, labels = self._logits(module, pixels)[:n], labels[:n]
        self.answers[:3] += _sums(logits, labels)
        if self.config.evaluation.augmented_copies:
            probabilities = logits.softmax(dim=1)
            for augmented in copies:
                probabilities = probabilities + self._logits(module, augmented)[:n].softmax(dim=1)
            self.answers[3] += (probabilities.argmax(dim=1) == labels).sum()

    def _logits(self, module: nn.Module, pixels: Tensor) -> Tensor:
        """The module's answer to raw images, in at least float32."""
        images = self.normalise(pixels)
        return at_least_float32(module(self._as_input(images)))

    def _as_input(self, tensor: Tensor) -> Tensor:
        parameter = next(self.module.parameters())
        last = self.config.model.channels_last and tensor.ndim == 4
        return tensor.to(parameter.dtype, memory_format=torch.channels_last if last else torch.preserve_format)


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over samples of (in top 1, in top 5, cross-entropy): float64 [3]."""
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices
    hits = (ranked == labels[:, None]).double()
    loss = F.cross_entropy(logits.double(), labels, reduction="sum")
    return torch.stack([hits[:, 0].sum(), hits.sum(), loss])
