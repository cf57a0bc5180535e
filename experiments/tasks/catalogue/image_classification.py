"""Classification of images. No torch."""

from __future__ import annotations

from experiments import data
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.origin import origin
from experiments.schema.task_info import TaskInfo
from experiments.tasks.batch_statistics import require_batch_statistics

# What a policy of timm begins with (timm/data/transforms_factory.py and auto_augment.py auto_augment_policy).
POLICIES = ("rand", "augmix", "original", "originalr", "v0", "v0r", "3a")
REPEATED_AUGMENTATION_ROUND = 256


def samples_per_epoch(config: RunConfig) -> int:
    """The size of the training set; with repeated augmentation rounded down to a multiple of 256, whatever the number
    of repeats (`RepeatAugSampler` of timm, `selected_round`; sets smaller than that are taken whole)."""
    size = config.data.train_size
    if config.augmentation.repeats and size >= REPEATED_AUGMENTATION_ROUND:
        return size // REPEATED_AUGMENTATION_ROUND * REPEATED_AUGMENTATION_ROUND
    return size


def check(config: RunConfig) -> None:
    """Raise UserError for an augmentation policy that timm does not have."""
    key, policy = "augmentation.auto_augment", config.augmentation.auto_augment
    if policy is not None and policy.split("-")[0] not in POLICIES:
        raise UserError(
            f"{key}={policy} ({origin(config, key)}): timm has no such policy (it has rand-m9-mstd0.5-inc1, "
            f"augmix-m5-w4-d2, original-mstd0.5 and null for none){suggestion(policy.split('-')[0], POLICIES)}"
        )


INFO = TaskInfo(
    name="image_classification",
    implementation="experiments.tasks.image_classification:ImageClassification",
    missing=lambda config: data.missing(config.data),
    identity=lambda config: data.identity(config.data),
    reads=(
        *("augmentation", "loss.name", "loss.label_smoothing", "distribute_batch_norm"),
        *("model.drop", "model.drop_path", "model.channels_last"),
        "optim.layer_decay",  # timm's models tell their layers
        *("evaluation.crop_pct", "evaluation.interpolation"),
        *("data.num_classes", "data.channels", "data.image_size", "data.mean", "data.std", "data.resize"),
    ),
    choices={
        "distribute_batch_norm": ("reduce", "broadcast", "none"),
        "loss.name": ("bce", "soft_target_cross_entropy", "cross_entropy"),
        "augmentation.interpolation": ("random", "bilinear", "bicubic"),
        "augmentation.random_erasing_mode": ("const", "rand", "pixel"),
        "evaluation.interpolation": ("bilinear", "bicubic"),
    },
    bounds={
        "model.drop_path": (0.0, 1.0),
        "model.drop": (0.0, 1.0),
        "data.num_classes": (1, None),
        "data.channels": (1, None),
        "data.image_size": (1, None),
        "augmentation.horizontal_flip": (0.0, 1.0),
        "augmentation.color_jitter": (0.0, None),
        "augmentation.random_erasing": (0.0, 1.0),
        "augmentation.repeats": (0, None),
        "augmentation.mixup": (0.0, None),
        "augmentation.cutmix": (0.0, None),
        "augmentation.mixup_probability": (0.0, 1.0),
        "augmentation.mixup_switch_probability": (0.0, 1.0),
        "loss.label_smoothing": (0.0, 1.0),
        "evaluation.crop_pct": (0.01, 1.0),
    },
    check=check,
    check_model=require_batch_statistics,
    samples_per_epoch=samples_per_epoch,
    sample="images",
)
