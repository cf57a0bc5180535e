import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.data.streams import derive, reseed


def test_streams_are_the_same_on_every_machine():
    assert derive(0, "order", 0) == 1829853113658518448
    assert derive(1005, "augmentation", 3, 1281166, 2) == 3427111561934805026


@given(st.integers(0, 2**40), st.integers(0, 10**7), st.integers(0, 10**7))
def test_streams_differ_by_seed_purpose_and_index_and_fit_a_torch_seed(seed, first, second):
    value = derive(seed, "mixup", first, second)
    assert 0 <= value < 2**63
    others = [
        derive(seed + 1, "mixup", first, second),
        derive(seed, "order", first, second),
        derive(seed, "mixup", first + 1, second),
        derive(seed, "mixup", first, second, 0),
        derive(seed, "mixup", int(f"{first}{second}")),
    ]
    assert value not in others


def test_reseeding_determines_every_global_generator():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    reseed(derive(0, "test", 1))
    first = draw()
    draw()
    reseed(derive(0, "test", 1))
    assert draw() == first
    reseed(derive(0, "test", 2))
    assert not set(draw()) & set(first)
