"""Classification of images. No torch."""

from __future__ import annotations

from typing import Any

from experiments import data
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.origin import origin
from experiments.schema.task_info import TaskInfo
from experiments.schema.typed import get, show, to_dict
from experiments.tasks.batch_statistics import require_batch_statistics

# What a policy of timm begins with (timm/data/transforms_factory.py and auto_augment.py auto_augment_policy).
POLICIES = ("rand", "augmix", "original", "originalr", "v0", "v0r", "3a")
REPEATED_AUGMENTATION_ROUND = 256
MOST_ON_DEVICE = 2 * 2**30  # bytes of training images: CIFAR-10 with a padding of 4 are 0.22 GiB

# What a pipeline of augmentation does not do: the value of each key that asks for nothing, and why.
WITHOUT: dict[str, dict[str, tuple[Any, str]]] = {
    "images": {
        "augmentation.padding": (0, "pads nothing"),
        "augmentation.padding_mode": ("zeros", "pads nothing"),
        "augmentation.cutout": (0, "cuts nothing out"),
        "evaluation.augmented_copies": (0, "augments no held-out images"),
    },
    "batched": {
        "data.resize": (False, "resizes nothing"),
        "augmentation.scale": ([1.0, 1.0], "resizes nothing (it crops at random after augmentation.padding)"),
        "augmentation.ratio": ([1.0, 1.0], "resizes nothing (it crops at random after augmentation.padding)"),
        "augmentation.auto_augment": (None, "has no such policies"),
        "augmentation.color_jitter": (0.0, "changes no colours"),
        "augmentation.random_erasing": (0.0, "erases nothing but by augmentation.cutout"),
    },
}


def samples_per_epoch(config: RunConfig) -> int:
    """The images to train on; with repeated augmentation rounded down to a multiple of 256, whatever the number of
    repeats (`RepeatAugSampler` of timm, `selected_round`; sets smaller than that are taken whole)."""
    size = config.data.trained_size
    if config.augmentation.repeats and size >= REPEATED_AUGMENTATION_ROUND:
        return size // REPEATED_AUGMENTATION_ROUND * REPEATED_AUGMENTATION_ROUND
    return size


def check(config: RunConfig) -> None:
    """Raise UserError for an augmentation policy that timm does not have, and for what the chosen pipeline of
    augmentation cannot do."""
    key, policy = "augmentation.auto_augment", config.augmentation.auto_augment
    if policy is not None and policy.split("-")[0] not in POLICIES:
        raise UserError(
            f"{key}={policy} ({origin(config, key)}): timm has no such policy (it has rand-m9-mstd0.5-inc1, "
            f"augmix-m5-w4-d2, original-mstd0.5 and null for none){suggestion(policy.split('-')[0], POLICIES)}"
        )
    pipeline = config.augmentation.pipeline
    for key, (value, why) in WITHOUT[pipeline].items():
        found = get(to_dict(config), key)
        if found != value:
            raise UserError(
                f"{key}={show(found)} ({origin(config, key)}): augmentation.pipeline={pipeline} {why}; did you mean "
                f"{show(value)}, or augmentation.pipeline={'images' if pipeline == 'batched' else 'batched'}?"
            )
    if pipeline == "batched":
        _check_room(config)
    if config.data.validation_fraction and not config.data.validation_size:
        key, least = "data.validation_fraction", 1 / config.data.train_size
        raise UserError(
            f"{key}={config.data.validation_fraction} ({origin(config, key)}): of {config.data.train_size} images that "
            f"is none; did you mean {least:g}?"
        )


def _check_room(config: RunConfig) -> None:
    """What is held on the device must be small, the padding less than an image and a square no larger than one."""
    augmentation, side = config.augmentation, config.data.image_size
    for key, value, most in (
        ("augmentation.padding", augmentation.padding, side - 1),
        ("augmentation.cutout", augmentation.cutout, side),
    ):
        if value > most:
            raise UserError(
                f"{key}={value} ({origin(config, key)}): images are {side} x {side} pixels; did you mean {most}?"
            )
    size = _padded(config, config.data.trained_size)
    if size > MOST_ON_DEVICE:
        key = "augmentation.pipeline"
        raise UserError(
            f"{key}=batched ({origin(config, key)}): holds all training images on the device, and those of "
            f"{config.data.name} are {size / 2**30:.1f} GiB, more than {MOST_ON_DEVICE / 2**30:.0f}; did you mean "
            "images?"
        )


def memory(config: RunConfig) -> dict[str, int]:
    """Bytes of the images that lie on the device; labels are a trifle beside them."""
    if config.augmentation.pipeline != "batched":
        return {}
    evaluated = config.data.validation_size or config.data.test_size
    held_out = evaluated * config.data.channels * config.data.image_size**2
    padded = _padded(config, evaluated) if config.evaluation.augmented_copies else 0
    return {"images": _padded(config, config.data.trained_size) + held_out + padded}


def _padded(config: RunConfig, images: int) -> int:
    """Bytes of so many images with their padding."""
    return images * config.data.channels * (config.data.image_size + 2 * config.augmentation.padding) ** 2


INFO = TaskInfo(
    name="image_classification",
    implementation="experiments.tasks.image_classification:ImageClassification",
    missing=lambda config: data.missing(config.data),
    identity=lambda config: data.identity(config.data),
    reads=(
        *("augmentation", "loss.name", "loss.label_smoothing", "distribute_batch_norm"),
        *("model.drop", "model.drop_path", "model.channels_last"),
        "optim.layer_decay",  # timm's models tell their layers
        *("evaluation.crop_pct", "evaluation.interpolation", "evaluation.augmented_copies"),
        *(
            "data.validation_fraction",
            "data.num_classes",
            "data.channels",
            "data.image_size",
            "data.mean",
            "data.std",
            "data.resize",
        ),
    ),
    choices={
        "distribute_batch_norm": ("reduce", "broadcast", "none"),
        "loss.name": ("bce", "soft_target_cross_entropy", "cross_entropy"),
        "augmentation.interpolation": ("random", "bilinear", "bicubic"),
        "augmentation.pipeline": tuple(WITHOUT),
        "augmentation.padding_mode": ("zeros", "reflect", "symmetric"),
        "augmentation.random_erasing_mode": ("const", "rand", "pixel"),
        "evaluation.interpolation": ("bilinear", "bicubic"),
    },
    bounds={
        "model.drop_path": (0.0, 1.0),
        "model.drop": (0.0, 1.0),
        "data.num_classes": (1, None),
        "data.validation_fraction": (0.0, 0.9),
        "data.channels": (1, None),
        "data.image_size": (1, None),
        "augmentation.horizontal_flip": (0.0, 1.0),
        "augmentation.color_jitter": (0.0, None),
        "augmentation.random_erasing": (0.0, 1.0),
        "augmentation.repeats": (0, None),
        "augmentation.padding": (0, None),
        "augmentation.cutout": (0, None),
        "augmentation.mixup": (0.0, None),
        "augmentation.cutmix": (0.0, None),
        "augmentation.mixup_probability": (0.0, 1.0),
        "augmentation.mixup_switch_probability": (0.0, 1.0),
        "loss.label_smoothing": (0.0, 1.0),
        "evaluation.crop_pct": (0.01, 1.0),
        "evaluation.augmented_copies": (0, None),
    },
    check=check,
    check_model=require_batch_statistics,
    samples_per_epoch=samples_per_epoch,
    sample="images",
    replayable=True,
    memory=memory,
)
