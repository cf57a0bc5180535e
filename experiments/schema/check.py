"""Whether the values of a configuration make sense, alone and together. Every check answers before torch is imported.

Each message names the value, where it came from and what would be valid.
"""

from __future__ import annotations

from experiments.schema.batches import micro_batch
from experiments.schema.budget import stop_update
from experiments.schema.config import RunConfig
from experiments.schema.epochs import samples_per_epoch, total_updates, updates_per_epoch
from experiments.schema.errors import UserError, suggestion
from experiments.schema.typed import get, show, to_dict

CHOICES = {
    "precision": ("fp32", "bf16", "fp16", "fp64"),
    "parallel": ("ddp",),
    "distribute_batch_norm": ("reduce", "broadcast", "none"),
    "schedule.name": ("cosine", "step", "constant"),
    "loss.name": ("bce", "soft_target_cross_entropy", "cross_entropy"),
    "augmentation.interpolation": ("random", "bilinear", "bicubic"),
    "augmentation.random_erasing_mode": ("const", "rand", "pixel"),
    "evaluation.interpolation": ("bilinear", "bicubic"),
    "launch.device": ("auto", "cpu", "cuda"),
    "launch.format": ("text", "json"),
    "track.mode": ("online", "offline"),
}

# Smallest and largest legal value; None: no bound.
BOUNDS = {
    "seed": (0, 2**63 - 1),
    "global_batch_size": (1, None),
    "batch_per_device": (1, None),
    "ema_decay": (0.0, 1.0),
    "clip_grad_norm": (0.0, None),
    "schedule.epochs": (1, None),
    "schedule.warmup_epochs": (0, None),
    "schedule.warmup_lr": (0.0, None),
    "schedule.min_lr": (0.0, None),
    "schedule.cooldown_epochs": (0, None),
    "schedule.decay": (0.0, 1.0),
    "model.drop_path": (0.0, 1.0),
    "model.drop": (0.0, 1.0),
    "data.num_classes": (1, None),
    "data.channels": (1, None),
    "data.train_size": (1, None),
    "data.test_size": (1, None),
    "data.image_size": (1, None),
    "data.workers": (0, None),
    "augmentation.horizontal_flip": (0.0, 1.0),
    "augmentation.color_jitter": (0.0, None),
    "augmentation.random_erasing": (0.0, 1.0),
    "augmentation.repeats": (0, None),
    "augmentation.mixup": (0.0, None),
    "augmentation.cutmix": (0.0, None),
    "augmentation.mixup_probability": (0.0, 1.0),
    "augmentation.mixup_switch_probability": (0.0, 1.0),
    "loss.label_smoothing": (0.0, 1.0),
    "evaluation.every": (1, None),
    "evaluation.batch_size": (1, None),
    "evaluation.crop_pct": (0.01, 1.0),
    "checkpoint.every": (1, None),
    "checkpoint.keep": (2, None),
    "launch.devices": (1, None),
    "launch.micro_batch": (1, None),
    "launch.threads": (1, None),
    "launch.jobs": (1, None),
    "optim.lr": (0.0, None),
    "optim.eps": (0.0, None),
    "optim.weight_decay": (0.0, None),
    "optim.max_grad_norm": (0.0, None),
}


def check(config: RunConfig) -> None:
    """Raise UserError for the first value that cannot be, or that does not fit the others."""
    _alone(config)
    _schedule(config)
    _updates(config)
    _split(config)


def origin(config: RunConfig, key: str) -> str:
    """Where the value of a dotted key came from, in words."""
    fact = config.provenance.get(key, {})
    if fact.get("level") == "command_line":
        return "command line"
    return (
        f"configs/{key.split('.')[0]}" if key.split(".")[0] in ("launch", "track") else f"configs/exp/{config.exp}.yaml"
    )


def _alone(config: RunConfig) -> None:
    tree = to_dict(config)
    for key, choices in CHOICES.items():
        value = get(tree, key)
        if value not in choices:
            raise UserError(f"{key}={show(value)} ({origin(config, key)}): no such value{suggestion(value, choices)}")
    for key, (low, high) in BOUNDS.items():
        value = get(tree, key)
        if value is None:
            continue
        if low is not None and value < low:
            raise UserError(f"{key}={value} ({origin(config, key)}): must be at least {low:g}; did you mean {low:g}?")
        if high is not None and value > high:
            raise UserError(f"{key}={value} ({origin(config, key)}): must be at most {high:g}; did you mean {high:g}?")
    for index, beta in enumerate(config.optim.get("betas") or []):
        if not 0 <= beta < 1:
            raise UserError(
                f"optim.betas={config.optim['betas']} ({origin(config, 'optim.betas')}): number {index + 1} must lie "
                "in [0, 1), in the convention of the released code (near 1; the paper prints 1 - beta)"
            )
    for name, metric in config.metrics.items():
        for field, choices in (("direction", ("max", "min")), ("reported", ("last", "best"))):
            value = getattr(metric, field)
            if value not in choices:
                key = f"metrics.{name}.{field}"
                raise UserError(f"{key}={value} ({origin(config, key)}): no such value{suggestion(value, choices)}")


def _schedule(config: RunConfig) -> None:
    schedule = config.schedule
    if schedule.warmup_epochs > schedule.epochs:
        key = "schedule.warmup_epochs"
        raise UserError(
            f"{key}={schedule.warmup_epochs} ({origin(config, key)}): longer than all {schedule.epochs} epochs"
        )
    before = 0
    for milestone in schedule.milestones:
        if not before < milestone < schedule.epochs:
            key = "schedule.milestones"
            raise UserError(
                f"{key}={schedule.milestones} ({origin(config, key)}): {milestone} must come after {before} and before "
                f"epoch {schedule.epochs}"
            )
        before = milestone


def _updates(config: RunConfig) -> None:
    """There must be an update in every epoch, and those asked about must exist."""
    if updates_per_epoch(config) == 0:
        raise UserError(
            f"global_batch_size={config.global_batch_size} ({origin(config, 'batch_size')}): larger than an epoch of "
            f"{samples_per_epoch(config)} training images of {config.data.name}"
        )
    total = total_updates(config)
    stop = stop_update(config.stop_at, updates_per_epoch(config))
    if stop is not None and stop >= total:
        raise UserError(
            f"stop_at={config.stop_at} (command line): the run ends by itself after {config.total_epochs} epochs "
            f"({total} updates); choose an earlier point"
        )
    for update in config.launch.lr_at:
        if not 1 <= update <= total:
            raise UserError(f"launch.lr_at={config.launch.lr_at} (command line): updates of this run are 1 to {total}")


def _split(config: RunConfig) -> None:
    """Devices and micro-batches must divide the batch, and so must the batch that batch norm and mixup see."""
    batch, devices, per_device = config.global_batch_size, config.launch.devices, config.batch_per_device
    if batch % devices:
        near = max(count for count in range(1, min(devices, batch) + 1) if batch % count == 0)
        raise UserError(
            f"launch.devices={devices} ({origin(config, 'launch.devices')}): does not divide the global batch of "
            f"{batch}; did you mean {near}?"
        )
    if batch % per_device:
        near = max(size for size in range(1, per_device + 1) if batch % size == 0)
        raise UserError(
            f"batch_per_device={per_device} ({origin(config, 'batch_per_device')}): does not divide the global batch "
            f"of {batch}; did you mean {near}?"
        )
    share, micro = batch // devices, micro_batch(config, devices)
    if share % micro:
        near = max(size for size in range(1, min(micro, share) + 1) if share % size == 0)
        raise UserError(
            f"launch.micro_batch={micro} ({origin(config, 'launch.micro_batch')}): does not divide the {share} samples "
            f"that each of {devices} device(s) computes of the batch of {batch}; did you mean {near}?"
        )
