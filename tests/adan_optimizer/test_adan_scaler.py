"""Under torch's gradient scaler: unscaled on the way, clipped by the true norm, and nothing at all where it skips."""

import numpy as np
import pytest
import torch
from adan_implementations import EVERY

from adan import Adan
from experiments.conformance.reference import ReferenceAdan

SHAPES = [(3, 4), (5,), ()]
HYPER = {"lr": 0.05, "weight_decay": 0.1}
SCALE = 2.0**10


def numbers(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


def parameters():
    return [torch.nn.Parameter(torch.tensor(numbers(shape, i))) for i, shape in enumerate(SHAPES)]


def backward(scaler, params, grads):
    """Gradients of a scaled loss: `grads` times the scale."""
    for param in params:
        param.grad = None
    loss = sum((param * torch.as_tensor(grad)).sum() for param, grad in zip(params, grads, strict=True))
    scaler.scale(loss).backward()


def everything(params, optimizer):
    states = [optimizer.state[p][name] for p in params for name in sorted(optimizer.state.get(p, {}))]
    return [tensor.detach().clone() for tensor in (*params, *states)]


@EVERY
@pytest.mark.parametrize("unscale_first", [False, True], ids=["on the way", "unscale_"])
@pytest.mark.parametrize("max_grad_norm", [0.0, 1.5])
def test_a_stream_with_skipped_steps_is_the_references_over_the_others(implementation, unscale_first, max_grad_norm):
    params = parameters()
    groups = [{"params": params[:2], "max_grad_norm": max_grad_norm}, {"params": params[2:]}]
    optimizer = Adan(groups, **HYPER, **implementation)
    reference = ReferenceAdan(
        [
            {"params": [p.detach().numpy() for p in g["params"]], "max_grad_norm": g["max_grad_norm"]}
            for g in optimizer.param_groups
        ],
        **HYPER,
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=2)
    scales = []
    for step in range(10):
        grads = [numbers(shape, 100 * step + i) for i, shape in enumerate(SHAPES)]
        if step in (0, 4, 5):
            grads[step % 3].flat[0] = (np.inf, np.nan, -np.inf)[step % 3]
        skipped = not all(np.isfinite(grad).all() for grad in grads)
        backward(scaler, params, grads)
        scales.append(scaler.get_scale())
        before = everything(params, optimizer)
        if unscale_first:
            scaler.unscale_(optimizer)
        kept = [(param.grad, param.grad.clone()) for param in params]
        scaler.step(optimizer)
        scaler.update()
        for param, (grad, value) in zip(params, kept, strict=True):
            assert param.grad is grad
            torch.testing.assert_close(grad, value, rtol=0, atol=0, equal_nan=True)
        if skipped:
            after = everything(params, optimizer)
            assert len(after) == len(before)
            assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
        else:
            reference.step([grads[:2], grads[2:]])
        for param, expected in zip(params, reference.params, strict=True):
            np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-12, atol=1e-13)
    assert len(set(scales)) > 2, "the scale must have changed under way"
    assert {int(optimizer.state[param]["step"]) for param in params} == {7}


@EVERY
def test_a_step_whose_first_is_skipped_leaves_no_states(implementation):
    params = parameters()
    optimizer = Adan(params, **HYPER, **implementation)
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    backward(scaler, params, [np.full(shape, np.inf) for shape in SHAPES])
    scaler.step(optimizer)
    scaler.update()
    assert not any(optimizer.state.get(param) for param in params)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_scale_that_is_a_power_of_two_leaves_every_bit(implementation, dtype):
    """Unscaled on the way they are what they are without a scaler, to the last bit: the scale is a power of two."""
    ends = []
    for scale in (2.0**40, 1.0):
        param = torch.nn.Parameter(torch.zeros(4, dtype=dtype))
        optimizer = Adan([param], lr=0.5, eps=0.0, state_dtype=torch.float32, **implementation)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for factor in (1.0, 2.0, -1.0):
            scaler.scale(
                (param * torch.tensor([1.0, -1.0, 0.5, 3.0], dtype=dtype) * factor * 2.0**-40).sum()
            ).backward()
            scaler.step(optimizer)
            scaler.update(scale)
            optimizer.zero_grad()
        ends.append(param.detach())
    assert torch.equal(*ends) and (ends[0] != 0).all()


@EVERY
def test_parameters_without_gradients_take_no_part(implementation):
    params = parameters()
    optimizer = Adan(params, max_grad_norm=1.0, **HYPER, **implementation)
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    before = params[1].detach().clone()
    scaler.scale(params[0].sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(params[1], before) and not optimizer.state.get(params[1])
    expected = torch.full_like(params[0], 12**-0.5)
    torch.testing.assert_close(optimizer.state[params[0]]["pre_grad"], expected, rtol=1e-7, atol=0.0)


@EVERY
def test_a_scaler_that_is_off_changes_nothing(implementation):
    ends = []
    for scaler in (torch.amp.GradScaler("cpu", enabled=False), None):
        params = parameters()
        optimizer = Adan(params, max_grad_norm=1.0, **HYPER, **implementation)
        for step in range(3):
            for i, param in enumerate(params):
                param.grad = torch.tensor(numbers(SHAPES[i], 10 * step + i))
            optimizer.step() if scaler is None else scaler.step(optimizer)
        ends.append(everything(params, optimizer))
    assert all(torch.equal(one, two) for one, two in zip(*ends, strict=True))
