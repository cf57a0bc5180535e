"""The resolved configuration of one run: every choice made, every number final.

`compose` builds it from `configs/` and the command line, `config.json` in the run directory holds it, and
everything below reads only this. Epochs and batch sizes come twice: nominal, as the paper counts them
(`epochs`, `batch_size`), and as run after the scale's factors (`schedule.epochs`, `global_batch_size`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.schema.task_sections import BPTTConfig, GlueConfig, PPOConfig, SegmentsConfig, TextConfig


@dataclass
class ScheduleConfig:
    """Learning rate over the run, in epochs as run (after the scale's factors); of a run that counts updates, in
    updates (`updates`, `warmup_updates`, milestones).

    `cosine` is timm 0.6's: warm-up is not a prefix (unless `warmup_prefix`), the rate jumps onto the cosine, and
    `cooldown_epochs` at `min_lr` follow the budget. `cosine_from_warmup` is Transformer-XL's. `step` multiplies by
    `decay` at each milestone (an epoch). `phases`, shares of the budget, move in straight lines between `phase_rates`,
    shares of the peak: that of the start and that of each phase's end. The rate changes with the epoch, or where
    `per_update` with every update.

    With `base_momentum` and `max_momentum` the momentum (of Adam and its relatives, the first of `betas`) moves against
    the rate, from the second down to the first at the peak and back: 1cycle, in the names of torch's OneCycleLR. Of
    `phases` it is highest wherever the rate is no higher than at the start.
    """

    name: str = "cosine"
    epochs: int = 1
    warmup_epochs: int = 0
    warmup_lr: float = 0.0
    warmup_prefix: bool = False
    per_update: bool = False
    min_lr: float = 0.0
    cooldown_epochs: int = 0
    milestones: list[int] = field(default_factory=list)
    decay: float = 0.1
    updates: int | None = None
    warmup_updates: int = 0
    base_momentum: float | None = None
    max_momentum: float | None = None
    phases: list[float] = field(default_factory=list)
    phase_rates: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The budget, without cool-down, in what it counts."""
        return self.epochs if self.updates is None else self.updates

    @property
    def warmup(self) -> int:
        """The warm-up, in what the budget counts."""
        return self.warmup_epochs if self.updates is None else self.warmup_updates


@dataclass
class ModelConfig:
    """A model by its registry name (timm's), with constructor arguments beyond classes and channels."""

    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    drop_path: float = 0.0
    drop: float = 0.0
    channels_last: bool = False
    compile: bool = False


@dataclass
class DataConfig:
    """A data set by name. `root`, `hub`, `cache` and `workers` say where and how to read, not what.

    Sizes count images, or of a text, which also has a `valid_size` and a `vocabulary`, tokens, `<eos>` included.
    `validation_fraction` of the training images are taken out of training and evaluated instead of the test images.
    """

    name: str = ""
    num_classes: int = 0
    channels: int = 3
    train_size: int = 0
    test_size: int = 0
    image_size: int = 224
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    resize: bool = True
    root: str | None = None
    hub: str | None = None
    cache: str | None = None
    workers: int = 0
    vocabulary: int = 0
    valid_size: int = 0
    validation_fraction: float = 0.0

    @property
    def validation_size(self) -> int:
        """Training images that are held out for evaluation."""
        return round(self.train_size * self.validation_fraction)

    @property
    def trained_size(self) -> int:
        """Training images that are left to train on."""
        return self.train_size - self.validation_size


@dataclass
class AugmentationConfig:
    """Training augmentation, in timm's terms (timm/data/transforms_factory.py, mixup.py, random_erasing.py).

    `pipeline` says where it happens: of `images` one by one on the CPU, or, for small images, `batched` on the run's
    device. That one crops at random after `padding` each side with `padding_mode` (`zeros`, `reflect`, `symmetric`),
    flips, and cuts out a square of `cutout` pixels a side.
    """

    scale: list[float] = field(default_factory=lambda: [0.08, 1.0])
    ratio: list[float] = field(default_factory=lambda: [0.75, 4.0 / 3.0])
    horizontal_flip: float = 0.5
    color_jitter: float = 0.0
    auto_augment: str | None = None
    interpolation: str = "random"
    random_erasing: float = 0.0
    random_erasing_mode: str = "pixel"
    repeats: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_probability: float = 1.0
    mixup_switch_probability: float = 0.5
    pipeline: str = "images"
    padding: int = 0
    padding_mode: str = "zeros"
    cutout: int = 0


@dataclass
class LossConfig:
    """`bce` (sum over classes of binary cross-entropy on soft targets, averaged as timm does),
    `soft_target_cross_entropy` or `cross_entropy`.

    A recurrent network's last layer adds `activation` times the mean square of its outputs after dropout (AR) and
    `slowness` times that of their differences in time before it (TAR; Merity et al. 2017, section 4.6).
    """

    name: str = "cross_entropy"
    label_smoothing: float = 0.0
    activation: float = 0.0
    slowness: float = 0.0


@dataclass
class InheritedConfig:
    """Weights and tokenizer that a run takes from outside its configuration, by SHA-256, as
    `experiments.launch.inheritance` finds them.

    `weights` are those of the finished run `parent` or of the checkpoint folder `init`; `source` says in words which.
    """

    source: str = ""
    weights: str = ""
    tokenizer: str = ""


@dataclass
class EvaluationConfig:
    """Evaluation of the model: `every` counts epochs, or updates where the budget does; the end of the run
    is always evaluated.

    `augmented_copies` of each held-out image, cropped and flipped as in training, are evaluated beside it (test-time
    augmentation)."""

    every: int = 1
    batch_size: int = 256
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    augmented_copies: int = 0


@dataclass
class MetricConfig:
    """A metric of the summary: `direction` is `max` or `min`; `reported` says which value the paper's cell
    means, that of the `last` evaluation, the `best` of all, or the one `selected` by another metric: its value where
    `selected_by` was best. `of` is the name in the evaluations where it is not the metric's own.
    """

    direction: str = "max"
    reported: str = "last"
    of: str | None = None
    selected_by: str | None = None


@dataclass
class CheckpointConfig:
    """Checkpoints are written every `every` epochs (updates, where the budget counts them), at SIGTERM and at the end;
    the newest `keep` stay."""

    every: int = 1
    keep: int = 2


@dataclass
class LaunchConfig:
    """Where and in how many pieces the run happens; nothing here changes its numbers beyond rounding."""

    name: str = "local"
    devices: int = 1
    device: str = "auto"
    micro_batch: int | None = None
    threads: int | None = None
    jobs: int = 1
    seeds_per_process: int = 1
    updates_between_reads: int | None = None
    format: str = "text"
    lr_at: list[int] = field(default_factory=list)


@dataclass
class TrackConfig:
    """Mirror of the event log: `none`, `wandb` (online or offline by `mode`) or `tensorboard`."""

    name: str = "none"
    project: str = "adan-reproduction"
    mode: str = "online"


@dataclass
class RunConfig:
    """One run. `optim` holds `name` and every hyper-parameter of that optimizer in the convention of the
    released code (betas near 1), `decay_bias_and_norm` and, where it is set, timm's `layer_decay` among them. Where
    `updates` is set, the budget counts updates, and `epochs` means nothing. `players` holds, of a task whose parts take
    turns, what each part's `optim` and `schedule` have of their own (`experiments.schema.players`)."""

    exp: str = ""
    title: str = ""
    task: str = ""
    recipe: str = ""
    scale: str = "mini"
    seed: int = 0
    epochs: int = 1
    batch_size: int = 1
    global_batch_size: int = 1
    batch_per_device: int = 1
    drop_last: bool = True
    scale_factors: dict[str, float] = field(default_factory=lambda: {"epochs": 1.0, "batch_size": 1.0})
    lr_scaling: str = "none"
    optim: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    text: TextConfig = field(default_factory=TextConfig)
    glue: GlueConfig = field(default_factory=GlueConfig)
    parent: str | None = None
    init: str | None = None
    inherited: InheritedConfig = field(default_factory=InheritedConfig)
    bptt: BPTTConfig = field(default_factory=BPTTConfig)
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    ema_decay: float | None = None
    clip_grad_norm: float | None = None
    distribute_batch_norm: str = "reduce"
    precision: str = "fp32"
    parallel: str = "ddp"
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    metrics: dict[str, MetricConfig] = field(default_factory=dict)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    stop_at: str | None = None
    force: bool = False
    capture: bool | str = "auto"
    curve: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    updates: int | None = None
    players: dict[str, Any] = field(default_factory=dict)

    @property
    def total_epochs(self) -> int:
        """Epochs that run: the budget and the cool-down after it. Of a run that counts updates, the stretches between
        evaluations."""
        if self.schedule.updates is not None:
            return -(-self.schedule.updates // self.evaluation.every)
        return self.schedule.epochs + self.schedule.cooldown_epochs
