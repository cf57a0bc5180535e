"""The numbers of a step: golden values, a float64 reference over random streams, and the two forms of the update."""

import numpy as np
import pytest
import torch
from adan_implementations import EVERY, has_compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from adan import Adan
from experiments.conformance import golden
from experiments.conformance.reference import ReferenceAdan


def parameters(arrays, dtype=torch.float64):
    return [torch.nn.Parameter(torch.tensor(array, dtype=dtype)) for array in arrays]


def run(optimizer, params, stream):
    for grads in stream:
        for param, grad in zip(params, grads, strict=True):
            param.grad = None if grad is None else torch.tensor(grad, dtype=param.dtype)
        optimizer.step()
    return [param.detach().clone() for param in params]


def random_stream(shapes, steps, seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    return [[scale * generator.standard_normal(shape) for shape in shapes] for _ in range(steps)]


@EVERY
@pytest.mark.parametrize("case", golden.TRAJECTORIES)
def test_golden_trajectory_of_the_authors_code(case, implementation):
    hyper, expected = golden.TRAJECTORIES[case]
    (param,) = params = parameters([[1.0]])
    optimizer = Adan(params, lr=0.1, **implementation, **hyper)
    for gradient, theta in zip(golden.GRADIENTS, expected, strict=True):
        run(optimizer, params, [[[gradient]]])
        assert param.item() == pytest.approx(theta, abs=6e-11)


@EVERY
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)], ids=["fp64", "fp32"])
@pytest.mark.parametrize("hyper", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "no_prox": True, "eps": 1e-3}])
def test_fifty_steps_equal_the_float64_reference(hyper, dtype, tolerance, implementation):
    shapes = [(3, 4), (5,), (), (2, 1, 3)]
    start = random_stream(shapes, 1, seed=1)[0]
    stream = random_stream(shapes, 50)
    reference = ReferenceAdan([{"params": start}], lr=0.01, **hyper)
    for grads in stream:
        reference.step([grads])
    params = parameters(start, dtype)
    for actual, expected in zip(
        run(Adan(params, lr=0.01, **implementation, **hyper), params, stream), reference.params, strict=True
    ):
        np.testing.assert_allclose(actual.numpy(), expected, rtol=tolerance, atol=tolerance)


streams = st.builds(
    random_stream,
    st.lists(st.sampled_from([(), (1,), (7,), (2, 3), (0,), (1, 4, 2)]), min_size=1, max_size=6),
    st.integers(1, 6),
    st.integers(0, 1000),
    st.sampled_from([1e-8, 1e-3, 1.0, 1e4]),
)
hypers = st.fixed_dictionaries(
    {
        "lr": st.floats(1e-5, 1.0),
        "weight_decay": st.sampled_from([0.0, 0.02, 1.0]),
        "max_grad_norm": st.sampled_from([0.0, 1e-3, 1.0, 1e6]),
        "no_prox": st.booleans(),
        "betas": st.tuples(*[st.floats(0.5, 0.999)] * 3),
    }
)


@settings(max_examples=40, deadline=None)
@given(stream=streams, hyper=hypers)
def test_foreach_and_single_give_the_same_bits_and_all_the_reference(stream, hyper):
    start = [np.ones(np.shape(grad)) for grad in stream[0]]
    reference = ReferenceAdan([{"params": start}], **hyper)
    for grads in stream:
        reference.step([grads])
    ends = []
    for arguments in ({"foreach": True}, {"foreach": False}, {"fused": has_compiler}):
        params = parameters(start)
        ends.append(run(Adan(params, **arguments, **hyper), params, stream))
    for listed, single, fused, expected in zip(*ends, reference.params, strict=True):
        assert torch.equal(listed, single)
        np.testing.assert_allclose(single.numpy(), expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(fused.numpy(), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(4)), hyper=hypers)
def test_order_of_groups_does_not_matter(order, hyper):
    shapes = [(3,), (2, 2), (5,), ()]
    start, stream = random_stream(shapes, 1, seed=2)[0], random_stream(shapes, 4)
    ends = []
    for arrangement in (range(4), order):
        params = parameters(start)
        groups = [{"params": [params[i]], "weight_decay": 0.1 * i, "max_grad_norm": float(i)} for i in arrangement]
        ends.append(run(Adan(groups, **{**hyper, "lr": 0.01}), params, stream))
    for first, second in zip(*ends, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(1e-4, 1e4), hyper=hypers)
def test_scaling_all_gradients_changes_nothing_without_eps(factor, hyper):
    start, stream = random_stream([(4,), (2, 3)], 1, seed=3)[0], random_stream([(4,), (2, 3)], 5)
    ends = []
    for scale in (1.0, factor):
        params = parameters(start)
        optimizer = Adan(params, **{**hyper, "eps": 0.0, "max_grad_norm": 0.0})
        ends.append(run(optimizer, params, [[scale * grad for grad in grads] for grads in stream]))
    for first, second in zip(*ends, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_parameters_keep_states_in_fp32(dtype, implementation):
    if dtype is torch.float16 and implementation.get("fused"):
        pytest.skip("the CPU kernel has no form for fp16")
    start, stream = random_stream([(64,)], 1)[0], random_stream([(64,)], 3, scale=1e-3)
    params = parameters(start, dtype)
    optimizer = Adan(params, lr=0.1, **implementation)
    run(optimizer, params, stream)
    state = optimizer.state[params[0]]
    assert {state[name].dtype for name in ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad")} == {torch.float32}
    # Squares of 1e-3 gradients vanish in fp16; with fp32 states the step stays that of the fp64 reference.
    reference = ReferenceAdan([{"params": [params_start(start, dtype)]}], lr=0.1)
    for grads in stream:
        reference.step([[torch.tensor(grads[0], dtype=dtype).double().numpy()]])
    np.testing.assert_allclose(params[0].detach().double().numpy(), reference.params[0], rtol=0.02, atol=0.02)


def params_start(start, dtype):
    return torch.tensor(start[0], dtype=dtype).double().numpy()


def test_a_parameter_in_channels_last_is_updated_in_place():
    param = torch.nn.Parameter(torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last))
    reference = ReferenceAdan([{"params": [param.detach().numpy()]}], lr=0.1)
    param.grad = torch.randn(2, 3, 4, 4)
    Adan([param], lr=0.1).step()
    reference.step([[param.grad.numpy()]])
    assert param.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(param.detach().numpy(), reference.params[0], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_on_a_gpu_every_implementation_equals_the_reference():
    shapes = [(33, 7), (5,), ()]
    start, stream = random_stream(shapes, 1, seed=1)[0], random_stream(shapes, 20)
    hyper = {"lr": 0.01, "weight_decay": 0.02, "max_grad_norm": 1.0}
    reference = ReferenceAdan([{"params": start}], **hyper)
    for grads in stream:
        reference.step([grads])
    for foreach, name in ((None, "fused-triton"), (True, "foreach"), (False, "single-tensor")):
        params = [torch.nn.Parameter(param.detach().cuda()) for param in parameters(start)]
        optimizer = Adan(params, foreach=foreach, **hyper)
        for grads in stream:
            for param, grad in zip(params, grads, strict=True):
                param.grad = torch.tensor(grad, device="cuda")
            optimizer.step()
        assert optimizer.implementation == name
        for param, expected in zip(params, reference.params, strict=True):
            np.testing.assert_allclose(param.detach().cpu().numpy(), expected, rtol=1e-12, atol=1e-12)
