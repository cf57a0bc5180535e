"""A run as the loop leaves it, without training."""

from __future__ import annotations

from pathlib import Path

from experiments.record.events import EventLog
from experiments.record.publishing import publish
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import seal
from experiments.record.timing import Timing
from experiments.schema.config import DataConfig, EvaluationConfig, MetricConfig, RunConfig, ScheduleConfig
from experiments.schema.digest import config_digest


def make_config(**changes) -> RunConfig:
    """Four epochs of two updates, and one of cool-down."""
    fields = {
        "exp": "vit_small",
        "task": "image_classification",
        "recipe": "setting_2",
        "optim": {"name": "adan", "lr": 0.015, "betas": [0.98, 0.92, 0.99]},
        "schedule": ScheduleConfig(epochs=4, cooldown_epochs=1),
        "data": DataConfig(name="mnist", num_classes=10),
        "evaluation": EvaluationConfig(every=1),
        "metrics": {"top1": MetricConfig("max", "last"), "eval_loss": MetricConfig("min", "best")},
        "overrides": ["exp=vit_small", "optim=adan"],
    }
    return RunConfig(**{**fields, **changes})


UPDATES, UPDATES_PER_EPOCH = 10, 2


def train(directory: RunDirectory, until: int = UPDATES, after: int = 0) -> None:
    """Write the events and times of updates `after` + 1 to `until`."""
    config = directory.config()
    log, timing = EventLog(directory.events_path), Timing(directory.timing_path)
    timing.start(after)
    if after == 0:
        log.append(
            "begin",
            config_digest=config_digest(config),
            seed=config.seed,
            parameters=1234,
            total_updates=UPDATES,
            updates_per_epoch=UPDATES_PER_EPOCH,
        )
    for update in range(after + 1, until + 1):
        epoch, position = divmod(update - 1, UPDATES_PER_EPOCH)
        if position == UPDATES_PER_EPOCH - 1:
            log.append("train", epoch=epoch, update=update, loss=2.0 / update, lr=0.1)
            log.append("evaluation", epoch=epoch, update=update, top1=90.0 - (epoch - 3) ** 2, eval_loss=1.5 / update)
            timing.epoch(epoch, update, 0.5, 100)
    if until == UPDATES:
        log.append("end", epoch=4, update=UPDATES, status="finished", parameters_digest="d" * 64)
    log.sync()
    log.close()


def seal_at(directory: RunDirectory, update: int = UPDATES) -> Path:
    """Seal and publish what `train` reached."""
    path = seal(
        directory,
        status="finished" if update == UPDATES else "partial",
        progress={"update": update, "total_updates": UPDATES, "epoch": update // 2, "total_epochs": 5},
        parameters_digest="d" * 64,
        data={"name": "mnist", "sha256": "a" * 64, "sizes": {"train": 4000, "test": 1000}},
        optimizer={"name": "adan", "class": "Adan", "library": "adan", "version": None, "implementation": "foreach"},
        threads=1,
        split={"ranks": 1, "micro_batch": 16, "batch_norm": False},
        peak_memory_bytes=123456789,
    )
    publish(directory)
    return path
