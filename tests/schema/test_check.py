"""Values that cannot be, alone or together."""

from __future__ import annotations

import pytest

from experiments.schema.batches import accumulation, micro_batch, unit
from experiments.schema.budget import stop_update
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.config import AugmentationConfig, RunConfig
from experiments.schema.epochs import Epochs, total_updates, updates_per_epoch
from experiments.schema.errors import UserError
from experiments.schema.legal_values import CHOICES
from experiments.schema.origin import origin


def composed(*arguments: str):
    [config] = compose(["exp=vit_small", *arguments])
    return config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["precision=fp17"], "precision=fp17 .command line.*'fp16'"),
        (["parallel=fdp"], "parallel=fdp .command line.*'ddp'"),
        (["launch.device=gpu"], "launch.device=gpu .command line.*'cpu'"),
        (["launch.format=jsn"], "launch.format=jsn .command line.*'json'"),
        (["launch.jobs=0"], "launch.jobs=0 .command line.*at least 1"),
        (["launch.devices=0"], "launch.devices=0 .command line.*at least 1"),
        (["seed=-1"], "seed=-1 .command line.*at least 0"),
        (["optim.lr=-0.1"], "optim.lr=-0.1 .command line.*at least 0"),
        (["optim.betas=[0.9,1.0,0.9]"], "optim.betas=.*number 2"),
        (["model.drop_path=1.5"], "model.drop_path=1.5 .command line.*at most 1"),
        (["checkpoint.keep=1"], "checkpoint.keep=1 .command line.*at least 2"),
        (["schedule.warmup_epochs=99"], "schedule.warmup_epochs=99 .command line.*20"),
        (["schedule.name=step", "schedule.milestones=[5,3]"], "schedule.milestones=.*3 must come after 5"),
        (["schedule.phases=[1.0]"], "schedule.phases=.*did you mean schedule.name=phases"),
        (["schedule.name=phases", "schedule.phases=[0.5,0.4]"], "schedule.phases=.*add up to 1"),
        (["schedule.name=phases", "schedule.phases=[0.5,0.5]"], "schedule.phase_rates=.*2 phases have 3 ends"),
        (["schedule.name=step", "schedule.milestones=[25]"], "schedule.milestones=.*before epoch 20"),
        (["launch.devices=3"], "launch.devices=3 .command line.*batch of 16; did you mean 2"),
        (["launch.micro_batch=5"], "launch.micro_batch=5 .command line.*16 samples.*did you mean 4"),
        (["scale=paper", "launch.devices=16", "launch.micro_batch=256"], "launch.micro_batch=256.*did you mean 128"),
        (["batch_per_device=6"], "batch_per_device=6 .command line.*batch of 16; did you mean 4"),
        (["global_batch_size=5000"], "global_batch_size=5000.*4000 training images of mnist"),
        (["stop_at=soon"], "stop_at=soon.*3epochs.*500updates"),
        (["stop_at=21"], "stop_at=21 .command line.*after 21 epochs"),
        (["launch.lr_at=[0]"], "launch.lr_at=.*1 to 5250"),
        (["launch.lr_at=[5251]"], "launch.lr_at=.*1 to 5250"),
        (["stop_at=0"], "stop_at=0 .command line.*500updates"),
        (["augmentation.auto_augment=foo"], "augmentation.auto_augment=foo .command line.*rand-m9.*3a"),
        (["augmentation.auto_augment=randm-m9"], "augmentation.auto_augment=randm-m9 .*did you mean 'rand'"),
        (["optim=sam", "optim.base=foo"], "optim.base=foo .command line.*choose from: .*adan.*sgd"),
        (["optim=sam", "optim.base=adamv"], "optim.base=adamv .command line.*'adam"),
        (["optim=sam", "optim.base=sam"], "optim.base=sam .command line.*'lamb'"),
        (["optim.layer_decay=1.5"], "optim.layer_decay=1.5 .command line.*at most 1"),
        (["schedule.max_momentum=0.95"], "max_momentum=0.95 .command line.*give schedule.base_momentum"),
        (["schedule.base_momentum=0.9", "schedule.max_momentum=0.8"], "base_momentum=0.9 .command line.*must not lie"),
        (
            ["optim=adagrad", "schedule.base_momentum=0.8", "schedule.max_momentum=0.9"],
            "base_momentum=0.8 .command line.*optim=adagrad has neither momentum nor betas",
        ),
        (["data=cifar10", "data.train_size=0"], "data.train_size=0 .command line"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(arguments, message):
    with pytest.raises(UserError, match=message):
        check(composed(*arguments))


BATCHED = [
    "augmentation.pipeline=batched",
    "augmentation.scale=[1,1]",
    "augmentation.ratio=[1,1]",
    "augmentation.auto_augment=null",
    "augmentation.padding=3",
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["augmentation.pipeline=batch"], "augmentation.pipeline=batch .command line.*'batched'"),
        (["augmentation.padding=2"], "augmentation.padding=2 .command line.*mean 0, or augmentation.pipeline=batched"),
        (["augmentation.padding_mode=reflect"], "padding_mode=reflect .command line.*mean zeros, or .*=batched"),
        (["augmentation.cutout=8"], "augmentation.cutout=8 .command line.*mean 0, or augmentation.pipeline=batched"),
        (
            BATCHED[:1],
            r"augmentation.scale=\[0.5, 1.0\] .configs/exp/families/vit.yaml.*mean \[1.0, 1.0\], or .*=images",
        ),
        (
            BATCHED[:3],
            "augmentation.auto_augment=rand-.* .configs/.*did you mean null, or augmentation.pipeline=images",
        ),
        ([*BATCHED, "augmentation.color_jitter=0.4"], "color_jitter=0.4 .command line.*mean 0.0, or .*=images"),
        ([*BATCHED, "augmentation.random_erasing=0.2"], "random_erasing=0.2 .command line.*augmentation.cutout"),
        ([*BATCHED, "data.resize=true"], "data.resize=true .command line.*did you mean false"),
        ([*BATCHED[:-1], "augmentation.padding=28"], "augmentation.padding=28 .command line.*28 x 28.*did you mean 27"),
        ([*BATCHED, "augmentation.cutout=29"], "augmentation.cutout=29 .command line.*28 x 28.*did you mean 28"),
        (
            [*BATCHED, "augmentation.padding_mode=mirror"],
            "padding_mode=mirror .command line.*reflect, symmetric",
        ),
        (
            ["scale=paper", *BATCHED, "augmentation.random_erasing=0", "data.resize=false"],
            "augmentation.pipeline=batched .command line.*imagenet.*GiB.*did you mean images",
        ),
    ],
)
def test_a_pipeline_of_augmentation_is_asked_only_for_what_it_does(arguments, message):
    check(composed(*BATCHED))
    with pytest.raises(UserError, match=message):
        check(composed(*arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["launch.micro_batch=1"], "launch.micro_batch=1 .command line.*odd.*did you mean 2"),
        (
            ["global_batch_size=18", "batch_per_device=18", "launch.micro_batch=9"],
            "launch.micro_batch=9 .command line.*odd.*did you mean 6",
        ),
        (["batch_size=128"], "batch_size=128 .command line.*odd global batch of 1,.*did you mean 256"),
        (["global_batch_size=15"], "global_batch_size=15 .command line.*odd.*did you mean 16"),
        (["scale=paper", "batch_size=101", "batch_per_device=101"], "batch_size=101 .command line.*did you mean 102"),
        (["scale=paper", "batch_size=202", "batch_per_device=101"], "batch_per_device=101 .*odd.*did you mean 2"),
        (["launch.devices=16"], "launch.devices=16 .command line.*odd share.*did you mean 8"),
        (["drop_last=false", "data.train_size=4003"], "drop_last=false .command line.*batch of 3.*did you mean true"),
    ],
)
def test_mixup_needs_pairs_and_nothing_else_does(arguments, message):
    with pytest.raises(UserError, match=message):
        check(composed(*arguments))
    check(composed(*arguments, "augmentation.mixup=0", "augmentation.cutmix=0"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["exp=ptb_lstm_1", "loss.label_smoothing=0.1"],
            "label_smoothing=0.1 .*: ptb_lstm_1 does not read it; only",
        ),
        (["exp=ptb_lstm_1", "model.drop_path=0.1"], "model.drop_path=0.1 .*only image_classification"),
        (["exp=bert_pretrain", "loss.name=bce"], "loss.name=bce .command line.: bert_pretrain does not read it"),
        (["exp=bert_glue", "text.mask_probability=0.3"], "text.mask_probability=0.3 .*only masked_language_modelling"),
        (["exp=ptb_lstm_1", "optim.layer_decay=0.5"], "layer_decay=0.5 .*ptb_lstm_1 does not read it; only image"),
        (["exp=transformer_xl", "bptt.length=35"], "bptt.length=35 .*transformer_xl does not read it"),
        (["exp=ppo_hopper", "augmentation.mixup=0.2"], "augmentation.mixup=0.2 .*ppo_hopper does not read it"),
        (["exp=vit_small", "ppo.gamma=0.9"], "ppo.gamma=0.9 .*vit_small does not read it; only ppo"),
        (
            ["exp=ptb_lstm_1", "optim=sgd", "optim.asgd_metric=val_pp"],
            "asgd_metric=val_pp .*did you mean 'val_ppl'",
        ),
        (["exp=resnet50", "optim=sgd", "optim.asgd_after=5"], "optim.asgd_metric=val_ppl .*: no evaluation has it"),
        (["exp=bert_pretrain", "text.mask_probability=0"], "text.mask_probability=0 .*did you mean 0.15"),
        (
            ["exp=bert_pretrain", "text.leave_unmasked=0.7", "text.random_token=0.7"],
            "leave_unmasked=0.7 .*together",
        ),
        (["exp=transformer_xl", "segments.long_memory=0"], "segments.long_memory=0 .command line.: .*at least 1"),
    ],
)
def test_what_a_task_does_not_read_or_cannot_use_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        [config] = compose(arguments)
        check(config)


@pytest.mark.parametrize(
    "arguments",
    [
        ["exp=transformer_xl", "model.drop=0.0", "segments.memory=16"],
        ["exp=vit_small", "model.drop=0.1", "model.drop_path=0.2", "loss.label_smoothing=0.2"],
        ["exp=ptb_lstm_1", "loss.activation=1.0", "bptt.length=20"],
        ["exp=bert_glue", "text.sequence_length=32"],
        ["exp=bert_pretrain", "text.sequence_length=32", "text.mask_probability=0.2"],
        ["exp=ppo_hopper", "ppo.gamma=0.9"],
    ],
)
def test_what_a_task_reads_can_be_set(arguments):
    [config] = compose(arguments)
    check(config)
    assert len(config.overrides) == len(arguments) - 1


def test_the_default_micro_batch_keeps_pairs_together():
    config = composed("global_batch_size=18", "batch_per_device=9")
    assert micro_batch(config, 1) == 6
    config.augmentation.mixup = config.augmentation.cutmix = 0.0
    assert micro_batch(config, 1) == 9


@pytest.mark.parametrize("augmentation", [{}, {"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "mixup_probability": 0}])
def test_what_is_checked_for_pairs_is_what_is_dealt_in_pairs(augmentation):
    from experiments.data.batch_augmentation import mixes

    config = RunConfig(augmentation=AugmentationConfig(**augmentation))
    assert (unit(config) == 2) == mixes(config.augmentation)
    config.augmentation.pipeline = "batched"  # a partner is made where it is needed
    assert unit(config) == 1


@pytest.mark.parametrize(
    ("arguments", "key", "place"),
    [
        (["data=cifar10"], "data.train_size", "configs/data/cifar10.yaml"),
        ([], "data.image_size", "configs/data/mnist.yaml"),
        (["data.image_size=30"], "data.image_size", "command line"),
        ([], "optim.name", "configs/optim/adan.yaml"),
        ([], "optim.lr", "configs/exp/vit_small.yaml"),
        ([], "batch_size", "configs/exp/families/vit.yaml"),
        (["batch_size=100"], "batch_size", "command line"),
    ],
)
def test_origins_of_values(arguments, key, place):
    assert origin(composed(*arguments), key) == place


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("ppo.rollout_steps", "configs/exp/families/ppo.yaml"),
        ("optim.lr", "configs/exp/families/ppo.yaml"),
        ("schedule.epochs", "configs/exp/families/ppo.yaml"),
        ("ppo.game", "configs/exp/ppo_ant.yaml"),
        ("model.arguments.actions", "configs/exp/ppo_ant.yaml"),
    ],
)
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_a_value_that_an_experiment_takes_from_its_family_has_that_origin(key, place, scale):
    (config,) = compose(["exp=ppo_ant", f"scale={scale}"])
    assert origin(config, key) == place


@pytest.mark.parametrize(("epochs", "near"), [(200, 150), (1, 150), (299, 300), (1000, 300)])
def test_the_nearest_budget_is_named(epochs, near):
    with pytest.raises(UserError, match=f"epochs={epochs} .command line.*150, 300; did you mean {near}"):
        composed(f"epochs={epochs}")


def test_a_relative_folder_of_the_hub_means_the_same_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    assert composed("data.hub=images").data.hub == str(tmp_path / "images")
    assert composed("data.hub=ILSVRC/imagenet-1k").data.hub == "ILSVRC/imagenet-1k"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["exp=bert_pretrain", "data.root=/mine"], "data.root=/mine .*data=imdb_reviews.*did you mean data=documents"),
        (["exp=ptb_lstm_1", "data.hub=a/b"], "data.hub=a/b .*data=movie_reviews.*did you mean data=ptb"),
        (["exp=vit_small", "data.root=/mine"], "data.root=/mine .*data=mnist.*did you mean data=imagenet"),
    ],
)
def test_a_place_that_the_data_set_would_not_read_is_refused(choices, message):
    [config] = compose(choices)
    with pytest.raises(UserError, match=message):
        check(config)
    check(compose([*choices, "scale=paper"])[0])


def test_the_batch_of_batch_norm_must_divide_the_batch_at_paper_scale_too():
    with pytest.raises(UserError, match=r"batch_size=3000 .command line.*did you mean 3072"):
        composed("scale=paper", "batch_size=3000")
    check(composed("scale=paper", "batch_size=3000", "batch_per_device=250"))
    assert composed("scale=paper", "batch_size=64").batch_per_device == 64


@pytest.mark.parametrize(
    ("devices", "micro", "expected"), [(1, None, (256, 8)), (8, None, (256, 1)), (16, None, (128, 1)), (4, 64, (64, 8))]
)
def test_micro_batches_and_accumulation_make_the_global_batch(devices, micro, expected):
    config = composed("scale=paper", f"launch.devices={devices}", f"launch.micro_batch={micro or 'null'}")
    check(config)
    assert (micro_batch(config, devices), accumulation(config, devices)) == expected


def test_a_share_that_the_recipes_batch_does_not_divide_gets_a_divisor():
    config = composed("scale=paper", "batch_size=1536", "launch.devices=4")
    check(config)
    assert micro_batch(config, 4) == 192


def test_updates_per_epoch():
    config = composed("scale=paper")
    assert updates_per_epoch(config) == 1281167 // 2048 == 625
    assert total_updates(config) == 625 * 310
    config.drop_last = False
    assert updates_per_epoch(config) == 626
    config.drop_last, config.augmentation.repeats = True, 3
    config.data.train_size, config.global_batch_size = 1000, 10
    assert updates_per_epoch(config) == 768 // 10  # timm's sampler selects a multiple of 256
    config.data.train_size = 200
    assert updates_per_epoch(config) == 20


@pytest.mark.parametrize(
    ("text", "update"), [(None, None), ("3", 30), ("3epochs", 30), ("1epoch", 10), ("25updates", 25), ("1update", 1)]
)
def test_stop_at_counts_epochs_or_updates(text, update):
    assert stop_update(text, Epochs.equal(10, epochs=4)) == update


@pytest.mark.parametrize("text", ["0", "-1", "3.5", "updates", "3 weeks"])
def test_stop_at_that_is_no_point_of_a_run(text):
    with pytest.raises(UserError, match="stop_at"):
        stop_update(text, Epochs.equal(10, epochs=4))


def test_schedule_names_are_those_that_exist():
    from experiments.optimizers.schedules import SCHEDULES

    assert set(CHOICES["schedule.name"]) == set(SCHEDULES)
