"""Mixup and cutmix on the device: timm's numbers, the same for every split, and never a number on the host."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_by_image import cropped, cut_out, word
from scipy import stats
from timm.data import Mixup
from timm.data.mixup import cutmix_bbox_and_lam
from torch.utils._pytree import tree_leaves, tree_map

from experiments.data.batch_augmentation import mixes
from experiments.data.device_batches import DeviceBatches
from experiments.data.images import ArrayImages
from experiments.data.mixing import AHEAD, Draws, Mixing, blend, soft_targets
from experiments.data.streams import derive
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


def noise(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, side, side(, 3)] and labels."""
    generator = np.random.default_rng(0)
    shape = (SIZE, SIDE, SIDE, 3) if channels == 3 else (SIZE, SIDE, SIDE)
    return generator.integers(0, 256, shape, dtype=np.uint8), generator.integers(0, 10, SIZE)


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    return ArrayImages(*noise(3))


def drawn(augmentation: AugmentationConfig, count: int = 4000, side: int = 32) -> Draws:
    return Mixing(augmentation, side, 0, CPU).draw(*np.divmod(np.arange(count), 4))


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_lambda_has_timms_distribution(alpha):
    found = drawn(AugmentationConfig(mixup=alpha))
    assert stats.kstest(found.weights, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert np.array_equal(found.shares, found.weights)
    assert not areas(found.boxes).any()


def areas(boxes: np.ndarray) -> np.ndarray:
    top, bottom, left, right = boxes.T
    assert (top >= 0).all() and (top <= bottom).all() and (left >= 0).all() and (left <= right).all()
    return (bottom - top) * (right - left)


def test_boxes_have_the_shares_that_timms_have():
    found = drawn(AugmentationConfig(cutmix=1.0))
    np.random.seed(0)
    timms = Mixup(mixup_alpha=0.0, cutmix_alpha=1.0, num_classes=10)
    theirs = [cutmix_bbox_and_lam((1, 3, 32, 32), timms._params_per_batch()[0])[1] for _ in range(4000)]
    assert stats.ks_2samp(found.shares, theirs).pvalue > 1e-3
    assert np.array_equal(found.shares, 1 - areas(found.boxes) / 32**2) and (found.weights == 1).all()


def test_how_often_each_is_chosen():
    found = drawn(replace(BOTH, mixup_probability=0.75, mixup_switch_probability=0.2))
    mixup, cutmix = (found.weights < 1).sum(), (areas(found.boxes) > 0).sum()
    for count, share in ((mixup, 0.75 * 0.8), (cutmix, 0.75 * 0.2)):
        assert stats.binomtest(int(count), 4000, share).pvalue > 1e-3
    assert not ((found.weights < 1) & (areas(found.boxes) > 0)).any()


def test_draws_are_of_the_group_and_the_update_alone_however_many_are_made_at_once():
    mixing = Mixing(BOTH, 32, 0, CPU)
    few = [mixing.drawn(update, 2) for update in (3, AHEAD - 1, AHEAD, 5 * AHEAD + 7, 3)]
    many = [Mixing(BOTH, 32, 0, CPU).drawn(update, 5) for update in (3, AHEAD - 1, AHEAD, 5 * AHEAD + 7, 3)]
    for one, other in zip(few, many, strict=True):
        assert all(torch.equal(part, more[:2]) for part, more in zip(one, other, strict=True))
    assert len({tuple(one.shares.flatten().tolist()) for one in few}) == 4


def mixed_by_hand(update: int, group: int, seed: int, augmentation: AugmentationConfig, side: int) -> tuple:
    """Lambda of the pixels, box and lambda of the labels."""
    mixes, switches, quantile, y, x = (word(derive(seed, "mixing"), [update, group], draw) for draw in range(1, 6))
    if mixes + 0.5 >= augmentation.mixup_probability * 2**32:
        return 1.0, (0, 0, 0, 0), 1.0
    cuts = augmentation.cutmix and (
        not augmentation.mixup or switches + 0.5 < augmentation.mixup_switch_probability * 2**32
    )
    alpha = augmentation.cutmix if cuts else augmentation.mixup
    lam = stats.beta.ppf((quantile + 0.5) / 2**32, alpha, alpha)
    if not cuts:
        return lam, (0, 0, 0, 0), lam
    half, row, column = int(side * math.sqrt(1 - lam)) // 2, y * side // 2**32, x * side // 2**32
    box = [sorted((0, edge, side))[1] for edge in (row - half, row + half, column - half, column + half)]
    return 1.0, tuple(box), 1 - (box[1] - box[0]) * (box[3] - box[2]) / side**2


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([{}, {"mixup_probability": 0.5}, {"cutmix": 0.0}, {"mixup": 0.0}]),
    st.sampled_from([1, 3]),
    st.integers(1, 6),
    st.integers(0, 2**63 - 1),
)
def test_an_update_is_what_is_mixed_by_hand_in_float64(changes, channels, update, seed):
    augmentation, dealt = replace(BOTH, **changes), samples(7)
    pixels, labels = noise(channels)
    data = replace(DATA, channels=channels, mean=[0.0] * channels, std=[1 / 255] * channels)  # levels, as they are
    batches = DeviceBatches(ArrayImages(pixels, labels), augmentation, data, 0.1, seed, CPU)
    one_hot = np.eye(10) * 0.9 + 0.01
    (every,) = samples(25).requests(update)
    positions = np.concatenate([share.positions for share in samples(25).shares(update)[0]])
    key_at = dict(zip(positions.tolist(), every.tolist(), strict=True))
    for keys, shares in zip(batches.update(dealt, update), dealt.shares(update), strict=True):
        places = [(share.group, int(place)) for share in shares for place in share.positions]
        for (group, place), image, target in zip(places, *batches.made(keys), strict=True):
            members = range(group, len(every), -(-len(every) // 12))  # a group holds at most 12
            partner = members[-1 - members.index(place)]
            lam, (top, bottom, left, right), share = mixed_by_hand(update, group, seed, augmentation, SIDE)
            own, other = (cropped(pixels, key_at[one], seed, augmentation).astype(float) for one in (place, partner))
            expected = lam * own + (1 - lam) * other
            expected[:, top:bottom, left:right] = other[:, top:bottom, left:right]
            cut_out(expected, key_at[place], seed, augmentation.cutout)
            assert np.abs(image.numpy() - expected).max() < 0.501  # rounded to whole levels
            np.testing.assert_allclose(image.numpy(), image.numpy().round(), rtol=0, atol=1e-4)
            mine, theirs = (one_hot[labels[key_at[one][1]]] for one in (place, partner))
            np.testing.assert_allclose(target.double(), share * mine + (1 - share) * theirs, rtol=0, atol=2e-7)


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_pixels_and_targets_are_timms_at_the_same_lambda_and_box(monkeypatch, settings):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (6,), generator=generator)
    mixing, mixup = Mixing(AugmentationConfig(**settings), SIDE, 3, CPU), Mixup(1.0, 1.0, label_smoothing=0.1)
    mixup.num_classes = 10
    for update in range(20):
        (weight,), (box,), (share,) = mixing.draw(np.array([update]), np.array([0]))
        cuts = bool(areas(box[None])[0])
        monkeypatch.setattr(
            mixup, "_params_per_batch", lambda cuts=cuts, weight=weight: (0.5 if cuts else weight, cuts)
        )
        monkeypatch.setattr("timm.data.mixup.cutmix_bbox_and_lam", lambda *_, box=box, share=share, **__: (box, share))
        images, targets = mixup(pixels.float(), labels)
        weights, boxes, shares = (part[[0] * 6] for part in mixing.drawn(update, 1))
        assert torch.equal(blend(pixels, pixels.flip(0), weights, boxes), images.round())
        own, other = shares[:, :, None].unbind(1)
        ours = soft_targets(labels, 10, 0.1) * own + soft_targets(labels.flip(0), 10, 0.1) * other
        assert torch.equal(ours, targets)


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
    fixed = tree_map(torch.clone, first)
    made: list = []
    replay = record(lambda: made.extend(batches.made(fixed)))
    for keys in (second, first):
        for there, part in zip(tree_leaves(fixed), tree_leaves(keys), strict=True):
            there.copy_(part)
        replay()
        for found, expected in zip(made, batches.made(keys), strict=True):
            assert torch.equal(found, expected)


def test_mixing_is_on_where_it_is_asked_for():
    assert mixes(BOTH) and not mixes(AugmentationConfig())
