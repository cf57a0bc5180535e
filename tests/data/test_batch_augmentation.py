import random

import numpy as np
import pytest
import torch
from timm.data.mixup import FastCollateMixup
from timm.data.random_erasing import RandomErasing

from experiments.data.batch_augmentation import BatchAugmentation
from experiments.data.sampler import Share, deal
from experiments.data.streams import derive
from experiments.schema.config import AugmentationConfig, DataConfig

DATA = DataConfig(num_classes=10, channels=3, image_size=24)
MIXED = {"mixup": 0.2, "cutmix": 1.0}


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (16, 3, 24, 24), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (16,), generator=generator)
    keys = np.stack([np.zeros(16, dtype=np.int64), np.arange(16), np.zeros(16, dtype=np.int64)], axis=1)
    return pixels, labels, keys


def normalised(pixels):
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (DATA.mean, DATA.std))
    return (pixels.float() - mean * 255) / (std * 255)


@pytest.mark.parametrize("settings", [MIXED, {"mixup": 0.8}, {"cutmix": 1.0}, {**MIXED, "mixup_probability": 0.5}])
def test_a_whole_group_is_mixed_as_timms_loader_mixes_it(batch, settings):
    pixels, labels, keys = batch
    augment = BatchAugmentation(AugmentationConfig(**settings), DATA, 0.1, seed=3)
    names = {"mixup": "mixup_alpha", "cutmix": "cutmix_alpha", "mixup_probability": "prob"}
    arguments = {"mixup_alpha": 0.0, **{names[key]: value for key, value in settings.items()}}
    collate = FastCollateMixup(**arguments, label_smoothing=0.1, num_classes=10)
    for update in range(1, 9):
        np.random.seed(derive(3, "mixup", update, 0) & 0xFFFFFFFF)
        expected, expected_targets = collate([(pixels[i].numpy(), int(labels[i])) for i in range(16)])
        images, targets = augment(pixels, labels, keys, update, [Share(0, np.arange(16))])
        torch.testing.assert_close(images, normalised(expected), rtol=0, atol=0)
        torch.testing.assert_close(targets, expected_targets, rtol=0, atol=0)


@pytest.mark.parametrize("group", [16, 8])
@pytest.mark.parametrize(("micro_batch", "world_size"), [(8, 1), (4, 2), (2, 4), (16, 1), (6, 1)])
def test_mixing_and_erasing_do_not_depend_on_the_split(batch, group, micro_batch, world_size):
    pixels, labels, keys = batch
    augmentation = AugmentationConfig(**MIXED, random_erasing=0.5)

    def augmented(micro_batch, world_size):
        augment = BatchAugmentation(augmentation, DATA, 0.1, seed=1)
        images, targets = torch.empty(16, 3, 24, 24), torch.empty(16, 10)
        for rank in range(world_size):
            for shares in deal(16, group, micro_batch, rank, world_size, paired=True):
                rows = np.concatenate([share.positions for share in shares])
                images[rows], targets[rows] = augment(pixels[rows], labels[rows], keys[rows], 5, shares)
        return images, targets

    whole, split = augmented(group, 1), augmented(micro_batch, world_size)
    assert torch.equal(whole[0], split[0])
    assert torch.equal(whole[1], split[1])


def test_groups_and_updates_are_mixed_differently(batch):
    pixels, _, keys = batch
    labels = torch.arange(16) % 10  # no partners of one class
    augment = BatchAugmentation(AugmentationConfig(mixup=0.8), DATA, 0.0, seed=1)
    largest = [
        augment(pixels, labels, keys, update, [Share(group, np.arange(16))])[1].max(dim=1).values[0].item()
        for update in (1, 2)
        for group in (0, 1)
    ]
    assert len(set(largest)) == 4


def test_pixels_are_erased_as_timm_does_and_after_normalising(batch):
    pixels, labels, keys = batch
    augment = BatchAugmentation(AugmentationConfig(random_erasing=1.0), DATA, 0.1, seed=1)
    images, _ = augment(pixels, labels, keys, 1, [Share(0, np.arange(16))])
    expected = normalised(pixels)
    erase = RandomErasing(1.0, mode="pixel", device="cpu")
    for number in range(16):
        random.seed(derive(1, "erasing", 0, number, 0))
        torch.manual_seed(derive(1, "erasing", 0, number, 0))
        erase(expected[number])
    assert torch.equal(images, expected)
    assert 0.02 < (images != normalised(pixels)).float().mean() < 1 / 3


def test_without_mixup_labels_are_smoothed_and_images_only_normalised(batch):
    pixels, labels, keys = batch
    augment = BatchAugmentation(AugmentationConfig(), DATA, 0.1, seed=1)
    images, targets = augment(pixels, labels, keys, 1, [Share(0, np.arange(16))])
    assert torch.equal(images, normalised(pixels))
    expected = torch.full((16, 10), 0.01).scatter_(1, labels[:, None], 0.91)
    torch.testing.assert_close(targets, expected)
