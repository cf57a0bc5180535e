"""Values that cannot be, alone or together."""

from __future__ import annotations

import pytest

from experiments.schema.batches import accumulation, micro_batch
from experiments.schema.budget import stop_update
from experiments.schema.check import CHOICES, check
from experiments.schema.compose import compose
from experiments.schema.epochs import total_updates, updates_per_epoch
from experiments.schema.errors import UserError


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
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(arguments, message):
    with pytest.raises(UserError, match=message):
        check(composed(*arguments))


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
    assert stop_update(text, updates_per_epoch=10) == update


@pytest.mark.parametrize("text", ["0", "-1", "3.5", "updates", "3 weeks"])
def test_stop_at_that_is_no_point_of_a_run(text):
    with pytest.raises(UserError, match="stop_at"):
        stop_update(text, updates_per_epoch=10)


def test_schedule_names_are_those_that_exist():
    from experiments.optimizers.schedules import SCHEDULES

    assert set(CHOICES["schedule.name"]) == set(SCHEDULES)
