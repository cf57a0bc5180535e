"""Mixup and cutmix on the device: timm's numbers, the same for every split, and never a number on the host."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from timm.data import Mixup

from experiments.data.batch_augmentation import mixes
from experiments.data.device_batches import DeviceBatches, Keys
from experiments.data.images import ArrayImages
from experiments.data.mixing import NOTHING, Mixing, Mixture, blend, soft_targets
from experiments.data.updates import UpdateSamples
from experiments.schema.config import AugmentationConfig, DataConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from tape import record

CPU = torch.device("cpu")
SIDE, SIZE = 8, 48
DATA = DataConfig(num_classes=10, channels=3, image_size=SIDE, mean=[0.5] * 3, std=[0.25] * 3, resize=False)
BOTH = AugmentationConfig(pipeline="batched", padding=2, padding_mode="reflect", cutout=3, mixup=0.4, cutmix=1.0)


def samples(micro_batch: int = 24, rank: int = 0, world_size: int = 1, per_device: int = 12) -> UpdateSamples:
    return UpdateSamples(
        seed=5,
        size=SIZE,
        samples=SIZE,
        repeats=0,
        updates_per_epoch=2,
        batch_size=25,
        batch_per_device=per_device,
        micro_batch=micro_batch,
        rank=rank,
        world_size=world_size,
        paired=False,
    )


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    generator = np.random.default_rng(0)
    return ArrayImages(
        generator.integers(0, 256, (SIZE, SIDE, SIDE, 3), dtype=np.uint8), generator.integers(0, 10, SIZE)
    )


def drawn(augmentation: AugmentationConfig, count: int = 4000, seed: int = 0) -> list:
    mixing = Mixing(augmentation, 32, seed)
    return [mixing.draw(update, group) for update in range(count // 4) for group in range(4)]


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_lambda_has_timms_distribution(alpha):
    found = [one.weight for one in drawn(AugmentationConfig(mixup=alpha))]
    assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert all(one.share == one.weight and one.box == (0, 0, 0, 0) for one in drawn(AugmentationConfig(mixup=alpha)))


def test_boxes_have_the_shares_that_timms_have():
    found = drawn(AugmentationConfig(cutmix=1.0))
    timms = Mixup(mixup_alpha=0.0, cutmix_alpha=1.0, num_classes=10)
    np.random.seed(0)
    lambdas = [timms._params_per_batch()[0] for _ in found]
    from timm.data.mixup import cutmix_bbox_and_lam

    theirs = [cutmix_bbox_and_lam((1, 3, 32, 32), lam)[1] for lam in lambdas]
    assert stats.ks_2samp([one.share for one in found], theirs).pvalue > 1e-3
    for one in found:
        top, bottom, left, right = one.box
        assert 0 <= top <= bottom <= 32 and 0 <= left <= right <= 32
        assert one.share == 1 - (bottom - top) * (right - left) / 32**2


def test_how_often_each_is_chosen():
    found = drawn(replace(BOTH, mixup_probability=0.75, mixup_switch_probability=0.2))
    nothing = sum(one == NOTHING for one in found)
    cuts = sum(one.weight == 1.0 and one != NOTHING for one in found)
    for count, share in ((nothing, 0.25), (cuts, 0.75 * 0.2)):
        assert stats.binomtest(count, len(found), share).pvalue > 1e-3


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_pixels_and_targets_are_timms_at_the_same_lambda_and_box(monkeypatch, settings):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (6,), generator=generator)
    for update in range(20):
        mixing = Mixing(AugmentationConfig(**settings), SIDE, 3)
        one = mixing.draw(update, 0)
        mixture = mixing.mixture(update, np.zeros(6, dtype=np.int64), np.zeros((6, 3), dtype=np.int64), CPU)
        mixup = Mixup(mixup_alpha=0.4, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=10)
        cuts = one.weight == 1.0 and one.box != (0, 0, 0, 0)
        monkeypatch.setattr(mixup, "_params_per_batch", lambda cuts=cuts, one=one: (0.5 if cuts else one.weight, cuts))
        monkeypatch.setattr("timm.data.mixup.cutmix_bbox_and_lam", lambda *_, one=one, **__: (one.box, one.share))
        if one.weight == 1.0 and not cuts:
            continue
        images, targets = mixup(pixels.float(), labels)
        found = blend(pixels, pixels.flip(0), mixture)
        assert torch.equal(found, images.round())
        own, other = mixture.shares[:, :, None].unbind(1)
        ours = soft_targets(labels, 10, 0.1) * own + soft_targets(labels.flip(0), 10, 0.1) * other
        assert torch.equal(ours, targets)
        torch.testing.assert_close(ours.double().sum(1), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([{}, {"mixup": 0.0, "cutmix": 0.0}, {"mixup_probability": 0.5}, {"cutmix": 0.0}]),
    st.sampled_from([(25, 1), (13, 1), (1, 1), (7, 2), (4, 3), (2, 5)]),
    st.integers(1, 6),
    st.integers(0, 100),
)
def test_every_split_sees_the_same_pixels_and_targets_also_in_odd_batches(images, changes, split, update, seed):
    augmentation = replace(BOTH, **changes)
    batches = DeviceBatches(images, augmentation, DATA, 0.1, seed, CPU)

    def gathered(micro_batch: int, world_size: int) -> dict:
        found = {}
        for rank in range(world_size):
            for keys in batches.update(samples(micro_batch, rank, world_size), update):
                made = batches.made(keys)
                for key, image, target in zip(keys.samples.tolist(), *made, strict=True):
                    found[tuple(key)] = image, target
        return found

    whole, part = gathered(25, 1), gathered(*split)
    assert whole.keys() == part.keys() and len(whole) == (25 if update % 2 else 23)
    for key, (image, target) in whole.items():
        assert torch.equal(image, part[key][0]) and torch.equal(target, part[key][1])


def test_a_sample_and_its_partner_are_mirror_images_in_their_group_as_timm_pairs_them():
    for update in (1, 2):
        dealt = samples(25)
        (request,), (groups,), (partners,) = dealt.requests(update), dealt.groups(update), dealt.partners(update)
        for group in np.unique(groups):
            inside = groups == group
            assert np.array_equal(request[inside], partners[inside][::-1])


def test_a_batch_is_made_by_operations_on_the_device_from_numbers_there(images):
    """Recorded for one update and replayed with another's keys, it is that update's."""
    batches = DeviceBatches(images, BOTH, DATA, 0.1, 1, CPU)
    (first,), (second,) = (list(batches.update(samples(25), update)) for update in (1, 3))
    fixed = Keys(first.samples.clone(), Mixture(*(part.clone() for part in first.mixture)))
    made: list = []
    replay = record(lambda: made.extend(batches.made(fixed)))
    for keys in (second, first):
        fixed.samples.copy_(keys.samples)
        for there, part in zip(fixed.mixture, keys.mixture, strict=True):
            there.copy_(part)
        replay()
        for found, expected in zip(made, batches.made(keys), strict=True):
            assert torch.equal(found, expected)


def test_mixing_is_on_where_it_is_asked_for():
    assert mixes(BOTH) and not mixes(AugmentationConfig())
