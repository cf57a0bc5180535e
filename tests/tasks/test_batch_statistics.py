"""A batch of one sample under batch norm at 1 x 1 pixel is known before anything runs."""

from __future__ import annotations

import pytest
import torch

from experiments import models
from experiments.data.sampler import deal
from experiments.launch import dispatch
from experiments.schema.batches import last_batch, unit
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.errors import UserError
from experiments.tasks.batch_statistics import _smallest, require_batch_statistics

RESNET = ("exp=resnet18", "scale=paper", "data.num_classes=3", "data.image_size=32", "data.test_size=18")


def checked(*arguments: str):
    [config] = compose([*RESNET, *arguments])
    check(config)
    return config


LAST = ("global_batch_size=47", "launch.micro_batch=47", "data.train_size=48")


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (
            LAST,
            r"drop_last=false .configs/exp/resnet18\.yaml.: .*data\.train_size=48.* batches of 47 end with 1, .*alone: "
            r"images of 32 x 32 pixels become one pixel in resnet18, .*; did you mean drop_last=true\?$",
            ["drop_last=true"],
        ),
        (
            ("global_batch_size=8", "launch.devices=2", "data.train_size=51"),
            r"end with 3, cut into micro-batches of at most 4 on 2 device.*did you mean drop_last=true\?",
            ["drop_last=true"],
        ),
        (
            ("global_batch_size=64", "data.train_size=3", "launch.micro_batch=2"),
            r"batches of 64 end with 3, cut .*did you mean global_batch_size=3\?",
            ["global_batch_size=3", "launch.micro_batch=3"],
        ),
        (
            ("global_batch_size=1", "data.train_size=48"),
            r"global_batch_size=1 .command line.: a batch of one sample: .*did you mean 2\?",
            ["global_batch_size=2"],
        ),
        (
            ("global_batch_size=8", "launch.micro_batch=1", "data.train_size=48"),
            r"launch\.micro_batch=1 .command line.: one sample at a time: .*did you mean 8\?",
            ["launch.micro_batch=8"],
        ),
        (
            ("global_batch_size=9", "launch.devices=9", "data.train_size=48", "drop_last=true"),
            r"launch\.devices=9 .command line.: one sample for each: .*did you mean 3\?",
            ["launch.devices=3"],
        ),
    ],
)
def test_a_sample_alone_is_refused_and_the_way_out_works(arguments, message, remedy):
    with pytest.raises(UserError, match=message):
        require_batch_statistics(checked(*arguments))
    changed = {text.partition("=")[0] for text in remedy}
    require_batch_statistics(checked(*(text for text in arguments if text.partition("=")[0] not in changed), *remedy))


@pytest.mark.parametrize("launch", ["plan", "local"])
def test_it_is_refused_in_a_plan_and_before_a_run_begins(launch, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.schema.paths.RUNS", tmp_path / "runs")
    with pytest.raises(UserError, match="one sample is left alone"):
        dispatch.dispatch([checked(*LAST, f"launch={launch}", f"data.root={tmp_path}")])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "change",
    [
        ["data.image_size=64"],  # two pixels by two
        ["model.name=vit_tiny_patch16_224", "data.image_size=32"],  # no batch norm
    ],
)
def test_models_that_learn_from_one_sample_are_left_alone(change):
    kept = [text for text in RESNET if not text.startswith("data.image_size") or "data.image_size" not in str(change)]
    [config] = compose([*kept, *LAST, *change])
    require_batch_statistics(config)
    with torch.device("meta"):
        module = models.build(config.model, config.data).train()
        module(torch.empty(1, 3, config.data.image_size, config.data.image_size))


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_the_smallest_micro_batch_is_that_of_the_sampler(mixup):
    config = checked("global_batch_size=16", "data.train_size=32", f"augmentation.mixup={mixup}")
    for config.data.train_size in range(32, 62, 2):
        for config.launch.devices, config.launch.micro_batch in ((1, 4), (1, 16), (2, 8), (4, 2), (8, 2)):
            devices, micro, rest = config.launch.devices, config.launch.micro_batch, last_batch(config)
            try:
                check(config)
            except UserError:  # a rank would get nothing
                with pytest.raises(UserError):
                    deal(rest, 16, micro, 0, devices, paired=mixup > 0)
                continue
            for samples in filter(None, (16, rest)):
                ranks = [deal(samples, 16, micro, rank, devices, paired=mixup > 0) for rank in range(devices)]
                sizes = [sum(len(share.positions) for share in one) for rank in ranks for one in rank]
                assert _smallest(samples, config) == min(sizes) >= unit(config)


def test_a_rank_without_a_sample_is_known_before():
    with pytest.raises(UserError, match=r"drop_last=false .*: an epoch ends with a batch of 2, too few for launch.dev"):
        checked("global_batch_size=8", "launch.devices=4", "data.train_size=50")
    checked("global_batch_size=8", "launch.devices=4", "data.train_size=50", "drop_last=true")
    with pytest.raises(UserError, match=r"ends with a batch of 3, too few for .*; did you mean launch.devices=1\?"):
        checked("global_batch_size=8", "launch.devices=4", "data.train_size=3")
    checked("global_batch_size=8", "launch.devices=1", "data.train_size=3")
