import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.data.distributed_sampler import RepeatAugSampler
from torch.utils.data import DistributedSampler

from experiments.data.sampler import deal, epoch_order
from experiments.schema.errors import UserError


def test_an_epoch_without_repeats_is_a_permutation_fixed_by_seed_and_epoch():
    order = epoch_order(7, 3, 1000)
    assert sorted(order[:, 0]) == list(range(1000))
    assert not order[:, 1].any()
    np.testing.assert_array_equal(order, epoch_order(7, 3, 1000))
    for other in (epoch_order(7, 4, 1000), epoch_order(8, 3, 1000)):
        assert (order[:, 0] == other[:, 0]).mean() < 0.02


def test_the_order_is_the_same_on_every_machine():
    assert epoch_order(0, 0, 10)[:, 0].tolist() == [7, 9, 6, 4, 5, 0, 2, 1, 3, 8]


@pytest.mark.parametrize("size", [1000, 256, 100])
def test_repeated_augmentation_deals_as_timms_sampler_does(monkeypatch, size):
    devices = 4
    order = epoch_order(1, 2, size, repeats=3)
    permutation = epoch_order(1, 2, size)[:, 0]
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: torch.from_numpy(permutation))
    for rank in range(devices):
        sampler = RepeatAugSampler(range(size), num_replicas=devices, rank=rank, num_repeats=3)
        expected = list(sampler)
        assert order[rank::devices, 0].tolist()[: len(expected)] == expected


def test_copies_of_an_image_differ_and_go_to_different_devices():
    order = epoch_order(0, 0, 512, repeats=3)
    assert len(np.unique(order, axis=0)) == 512
    for index in order[:509:3, 0]:
        places = np.flatnonzero(order[:, 0] == index)
        assert len(set(places % 4)) == len(places) == 3


def test_groups_are_the_devices_of_torchs_distributed_sampler(monkeypatch):
    size, devices, per_device = 96, 4, 8
    order = epoch_order(5, 0, size)[:, 0]
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: torch.from_numpy(order))
    for update in range(size // (devices * per_device)):
        batch = order[update * 32 : (update + 1) * 32]
        for device in range(devices):
            sampler = list(DistributedSampler(range(size), num_replicas=devices, rank=device))
            (micro_batch,) = deal(32, per_device, per_device, rank=device, world_size=devices)
            (share,) = micro_batch
            assert share.group == device
            assert batch[share.positions].tolist() == sampler[update * per_device : (update + 1) * per_device]


splits = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))


@given(splits, st.booleans())
def test_every_sample_is_dealt_once_whatever_the_split(split, paired):
    groups, half, micro, world_size = split
    size, micro_batch = groups * half * 2, micro * 2
    chunks = world_size * -(-size // (micro_batch * world_size))
    if chunks > (size // 2 if paired else size):
        with pytest.raises(UserError, match="too few"):
            deal(size, half * 2, micro_batch, 0, world_size, paired)
        return
    ranks = [deal(size, half * 2, micro_batch, rank, world_size, paired) for rank in range(world_size)]
    assert len({len(micro_batches) for micro_batches in ranks}) == 1  # no rank waits for another
    batches = [shares for micro_batches in ranks for shares in micro_batches]
    assert all(sum(len(share.positions) for share in shares) <= micro_batch for shares in batches)
    dealt = [share for shares in batches for share in shares]
    assert sorted(np.concatenate([share.positions for share in dealt])) == list(range(size))
    for share in dealt:
        assert set(share.positions % groups) == {share.group}
        if paired:  # the mirror image of place i of a group is place n - 1 - i
            places = share.positions // groups
            assert (places + places[::-1] == 2 * half - 1).all()


def test_mixup_refuses_odd_groups_and_odd_micro_batches():
    with pytest.raises(UserError, match="batch_per_device must be even"):
        deal(15, 5, 5, paired=True)
    with pytest.raises(UserError, match=r"launch\.micro_batch=3"):
        deal(12, 6, 3, paired=True)
    assert len(deal(12, 6, 3, paired=False)) == 4
