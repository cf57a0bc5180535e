import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import create_transform

from experiments.data.augmentation import EvaluationTransform, TrainTransform
from experiments.data.streams import reseed
from experiments.schema.config import AugmentationConfig, DataConfig, EvaluationConfig
from experiments.schema.errors import UserError

DATA = DataConfig(name="imagenet", image_size=64)


@pytest.fixture(scope="module")
def photograph():
    return Image.fromarray(load_sample_image("china.jpg"))


@pytest.mark.parametrize(
    ("augmentation", "timm_arguments"),
    [
        (
            AugmentationConfig(auto_augment="rand-m9-mstd0.5-inc1", color_jitter=0.4, interpolation="bicubic"),
            {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4, "interpolation": "bicubic"},
        ),
        (
            AugmentationConfig(color_jitter=0.4, horizontal_flip=0.0, scale=[0.35, 1.0]),
            {"color_jitter": 0.4, "hflip": 0.0, "scale": (0.35, 1.0), "interpolation": "random"},
        ),
        (AugmentationConfig(), {"color_jitter": None, "interpolation": "random"}),
    ],
)
def test_training_images_are_timms(photograph, augmentation, timm_arguments):
    ours = TrainTransform(augmentation, DATA)
    theirs = create_transform(64, is_training=True, use_prefetcher=True, **timm_arguments)
    for seed in range(12):
        found = ours(photograph, seed)
        reseed(seed)
        np.testing.assert_array_equal(found, theirs(photograph).numpy().transpose(1, 2, 0))


def test_a_training_image_depends_on_its_seed_alone(photograph):
    transform = TrainTransform(AugmentationConfig(auto_augment="rand-m7-mstd0.5-inc1"), DATA)
    first = transform(photograph, 5)
    other = transform(photograph, 6)
    np.testing.assert_array_equal(transform(photograph, 5), first)
    assert (first != other).any()


@pytest.mark.parametrize("crop_pct", [0.875, 0.95])
def test_evaluation_images_are_timms(photograph, crop_pct):
    ours = EvaluationTransform(EvaluationConfig(crop_pct=crop_pct, interpolation="bicubic"), DATA)
    theirs = create_transform(64, use_prefetcher=True, crop_pct=crop_pct, interpolation="bicubic")
    np.testing.assert_array_equal(ours(photograph), theirs(photograph).numpy().transpose(1, 2, 0))


def test_without_resizing_images_stay_as_they_are_and_must_have_their_size(photograph):
    transform = EvaluationTransform(EvaluationConfig(), DataConfig(image_size=64, resize=False))
    small = photograph.crop((0, 0, 64, 64))
    np.testing.assert_array_equal(transform(small), np.asarray(small))
    with pytest.raises(UserError, match=r"data\.resize=false.*\(640, 427\)"):
        transform(photograph)


@pytest.mark.parametrize(
    "wrong", [{"auto_augment": "rant-m7"}, {"auto_augment": "rand-q7"}, {"interpolation": "cubist"}]
)
def test_augmentation_that_timm_does_not_know_is_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong.values()))):
        TrainTransform(AugmentationConfig(**wrong), DATA)
