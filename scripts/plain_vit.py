"""Images through a classifier as timm's own parts put them there: what bench_gpu.py sets beside the loop.

timm's train.py is no part of its package; this is what it does at each update, with the settings of a run's recipe:
timm's loader (augmentation in workers, mixup at collation, normalising and erasing on the device), autocast with a
scaler of gradients, micro-batches, and the same optimizer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import FastCollateMixup, ImageDataset, create_loader
from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
from torch import nn

from experiments import optimizers
from experiments.schema.config import RunConfig
from experiments.training.precision import AUTOCAST

LOSSES: dict[str, type[nn.Module]] = {"bce": BinaryCrossEntropy, "soft_target_cross_entropy": SoftTargetCrossEntropy}


class PlainTrainer:
    """The updates of a run's recipe, without a schedule, `micro_batch` images at a time."""

    def __init__(self, config: RunConfig, micro_batch: int, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.pieces = config, device, config.global_batch_size // micro_batch
        settings = {**config.model.arguments, "drop_path_rate": config.model.drop_path}
        self.model = timm.create_model(config.model.name, num_classes=config.data.num_classes, **settings).to(device)
        self.optimizer = optimizers.build(config.optim, self.model)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.loss = LOSSES[config.loss.name]()
        self.batches = self._batches(self._loader(micro_batch))
        self.model.train()

    def perform(self, updates: int) -> float:
        """Seconds that the next updates take."""
        self._wait()
        begin = time.perf_counter()
        for _ in range(updates):
            for _ in range(self.pieces):
                images, targets = next(self.batches)
                with torch.autocast(self.device.type, AUTOCAST.get(self.config.precision), self._is_mixed()):
                    loss = self.loss(self.model(images), targets) / self.pieces
                self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        self._wait()
        return time.perf_counter() - begin

    def _is_mixed(self) -> bool:
        return self.config.precision in AUTOCAST

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _loader(self, micro_batch: int) -> Any:
        data, augmentation = self.config.data, self.config.augmentation
        mixup = FastCollateMixup(
            mixup_alpha=augmentation.mixup,
            cutmix_alpha=augmentation.cutmix,
            prob=augmentation.mixup_probability,
            switch_prob=augmentation.mixup_switch_probability,
            label_smoothing=self.config.loss.label_smoothing,
            num_classes=data.num_classes,
        )
        return create_loader(
            ImageDataset(str(Path(data.root or "") / "train")),
            input_size=(data.channels, data.image_size, data.image_size),
            batch_size=micro_batch,
            is_training=True,
            re_prob=augmentation.random_erasing,
            re_mode=augmentation.random_erasing_mode,
            scale=(augmentation.scale[0], augmentation.scale[1]),
            ratio=(augmentation.ratio[0], augmentation.ratio[1]),
            hflip=augmentation.horizontal_flip,
            auto_augment=augmentation.auto_augment,
            interpolation=augmentation.interpolation,
            mean=tuple(data.mean),
            std=tuple(data.std),
            num_workers=data.workers,
            collate_fn=mixup,
            pin_memory=self.device.type == "cuda",
            device=self.device,
        )

    @staticmethod
    def _batches(loader: Any) -> Iterator[Any]:
        """Epoch after epoch."""
        while True:
            yield from loader
