"""A run that is judged on part of its training set: which images, and what its numbers are called."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from experiments import data, tasks
from experiments.data.images import ArrayImages
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.epochs import updates_per_epoch
from experiments.schema.errors import UserError
from experiments.training.task import Part

VGG = ["exp=cifar10_vgg11", "optim=adan", "scale=mini"]
HALF_MNIST = ["data.validation_fraction=0.1"]


def composed(*arguments):
    [config] = compose([*VGG, *arguments])
    return config


def bytes_of(images):
    return {images.image(index).tobytes() for index in range(len(images))}


def test_held_out_images_are_training_images_that_training_does_not_see():
    config = composed(*HALF_MNIST)
    whole, split = data.load(composed().data), data.load(config.data)
    assert (len(split.train), len(split.test), len(whole.train)) == (3600, 400, 4000)
    train, held_out = bytes_of(split.train), bytes_of(split.test)
    assert train | held_out == bytes_of(whole.train) and not train & held_out
    assert not held_out & bytes_of(whole.test)
    assert np.bincount(split.test.labels).min() > 20  # of 40 each on average


def test_the_split_belongs_to_the_data_and_not_to_the_seed():
    one, other = (data.load(composed(*HALF_MNIST, f"seed={seed}").data) for seed in (0, 1))
    assert np.array_equal(one.test.pixels, other.test.pixels)
    assert one.manifest()["validation"]["count"] == 400 and "test" not in one.manifest()


def test_a_folder_sorted_by_class_is_split_over_all_classes_with_its_own_names(tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 5)):
        for label in range(10):
            folder = tmp_path / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:02}.png")
    [config] = compose(
        [*("exp=cifar10_vgg11", "optim=adan", "scale=paper", f"data.root={tmp_path}", "data.train_size=400"),
         *("data.test_size=50", "data.validation_fraction=0.25")]
    )  # fmt: skip
    split = data.load(config.data)
    assert not isinstance(split.test, ArrayImages)
    assert (len(split.train), len(split.test)) == (300, 100)
    assert np.bincount(split.test.labels, minlength=10).min() > 0
    assert not bytes_of(split.train) & bytes_of(split.test)
    assert "/train/class" in split.test.describe(0)
    assert split.test.describe(0) != split.train.describe(0)
    assert len(split.manifest()["digest"]) == 64


@pytest.mark.parametrize("pipeline", ["batched", "images"])
def test_the_numbers_of_a_validation_split_are_not_named_like_a_tests(pipeline):
    images = ["data.resize=true", "augmentation.padding=0"] if pipeline == "images" else []
    config = composed(*HALF_MNIST, f"augmentation.pipeline={pipeline}", *images)
    check(config)
    assert updates_per_epoch(config) == math.ceil(3600 / 32)
    assert set(config.metrics) == {"val_top1", "val_top1_best", "val_loss"}
    assert config.metrics["val_top1_best"].of == "val_top1"
    task = tasks.build(config, Part(rank=0, world_size=1, micro_batch=32))
    seen = task.evaluate(task.module)
    assert set(seen) == {"val_top1", "val_top5", "val_loss"}
    assert seen["val_top1"] * 4 == pytest.approx(round(seen["val_top1"] * 4))  # of 400 images, in percent
    task.micro_batches(1).__next__()


def test_every_training_image_that_is_left_is_drawn_once_an_epoch():
    task = tasks.build(composed(*HALF_MNIST), Part(rank=0, world_size=1, micro_batch=32))
    drawn = np.concatenate([request[:, 1] for update in range(1, 114) for request in task.samples.requests(update)])
    assert np.array_equal(np.sort(drawn), np.arange(3600))


def test_without_it_a_configuration_is_what_it_was():
    config = composed()
    assert config.data.validation_fraction == 0
    assert config_digest(composed(*HALF_MNIST)) != config_digest(config)
    assert set(config.metrics) == {"top1", "top1_best", "eval_loss"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.0001", "data.validation_fraction=0.0001 .command line.: of 4000 images that is none; did you mean 0.00025"),
        ("1", "data.validation_fraction=1.0 .command line.: must be at most 0.9"),
        ("-0.1", "data.validation_fraction=-0.1 .command line.: must be at least 0"),
    ],
)
def test_a_fraction_that_leaves_nothing_is_refused(value, message):
    with pytest.raises(UserError, match=message):
        check(composed(f"data.validation_fraction={value}"))


def test_a_text_has_its_own_validation_split():
    [config] = compose(["exp=ptb_lstm_1", "optim=adan", "data.validation_fraction=0.1"])
    with pytest.raises(UserError, match="ptb_lstm_1 does not read it; only image_classification"):
        check(config)
