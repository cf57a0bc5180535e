"""Clipping by the norm over all groups, and gradients that stay as they were."""

import copy

import numpy as np
import pytest
import torch
from adan_implementations import EVERY

from adan import Adan
from experiments.conformance.reference import ReferenceAdan


def group_of(*arrays):
    return [torch.nn.Parameter(torch.tensor(array, dtype=torch.float64)) for array in arrays]


def give(params, grads):
    for param, grad in zip(params, grads, strict=True):
        param.grad = torch.tensor(grad, dtype=torch.float64)


@EVERY
def test_one_norm_over_all_groups_and_each_group_its_own_threshold(implementation):
    start = [[1.0, 2.0], [3.0], [4.0]]
    thresholds = [1.0, 0.0, 2.5]
    params = group_of(*start)
    groups = [{"params": [p], "max_grad_norm": limit} for p, limit in zip(params, thresholds, strict=True)]
    optimizer = Adan(groups, lr=0.1, **implementation)
    reference = ReferenceAdan(
        [{"params": [p], "max_grad_norm": limit} for p, limit in zip(start, thresholds, strict=True)], lr=0.1
    )
    for grads in ([[3.0, 0.0], [4.0], [0.5]], [[-1.0, 2.0], [-7.0], [0.1]], [[0.01, 0.02], [0.03], [0.04]]):
        give(params, grads)
        optimizer.step()
        reference.step([[grad] for grad in grads])
        for param, expected in zip(params, reference.params, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-13)


def test_a_frozen_group_does_not_count_in_the_norm():
    free, frozen = group_of([1.0], [1.0])
    optimizer = Adan([{"params": [free]}, {"params": [frozen]}], lr=0.1, max_grad_norm=1.0)
    free.grad = torch.full_like(free, 3.0)
    optimizer.step()
    assert optimizer.state[free]["pre_grad"].item() == pytest.approx(1.0, rel=1e-7)
    assert frozen.item() == 1.0 and frozen not in optimizer.state


@EVERY
@pytest.mark.parametrize("limit", [0.0, 1e-3, 1e9])
def test_gradients_are_never_modified(limit, implementation):
    params = group_of([1.0, 2.0], [3.0])
    optimizer = Adan(params, lr=0.1, weight_decay=0.1, max_grad_norm=limit, **implementation)
    for _ in range(3):
        give(params, [[0.3, -0.7], [1.1]])
        kept = [param.grad for param in params]
        optimizer.step()
        assert all(param.grad is grad for param, grad in zip(params, kept, strict=True))
        assert [param.grad.tolist() for param in params] == [[0.3, -0.7], [1.1]]


def test_the_stored_previous_gradient_is_the_clipped_one():
    params = group_of([0.0, 0.0])
    optimizer = Adan(params, max_grad_norm=1.0, eps=0.0)
    give(params, [[3.0, 4.0]])
    optimizer.step()
    torch.testing.assert_close(optimizer.state[params[0]]["pre_grad"], torch.tensor([0.6, 0.8], dtype=torch.float64))


def test_the_threshold_is_the_groups_also_after_load_state_dict():
    clipped, fresh = group_of([1.0]), group_of([1.0])
    source = Adan(clipped, lr=0.1, max_grad_norm=0.4)
    give(clipped, [[0.5]])
    source.step()
    give(fresh, [[0.5]])
    target = Adan(fresh, lr=0.1)  # constructed without clipping
    target.load_state_dict(copy.deepcopy(source.state_dict()))
    fresh[0].data.copy_(clipped[0].data)
    for optimizer, params in ((source, clipped), (target, fresh)):
        give(params, [[-0.9]])
        optimizer.step()
    assert fresh[0].item() == clipped[0].item()
    assert target.state[fresh[0]]["pre_grad"].item() == pytest.approx(-0.4, rel=1e-7)


def test_the_threshold_may_be_set_on_the_group_between_steps():
    params = group_of([1.0])
    optimizer = Adan(params, lr=0.1)
    optimizer.param_groups[0]["max_grad_norm"] = 0.2
    give(params, [[5.0]])
    optimizer.step()
    assert optimizer.state[params[0]]["pre_grad"].item() == pytest.approx(0.2, rel=1e-7)


def test_the_norm_of_half_precision_gradients_does_not_overflow():
    param = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float16))
    optimizer = Adan([param], lr=0.1, max_grad_norm=1.0)
    param.grad = torch.full_like(param, 6e4)
    optimizer.step()
    assert torch.isfinite(param).all() and (param < 0).all()
