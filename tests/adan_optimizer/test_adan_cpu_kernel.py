"""The CPU kernel against the float64 reference and torch's own operations: types, sizes, layouts, threads."""

import numpy as np
import pytest
import torch
from adan_implementations import EVERY, needs_compiler
from tensor_layouts import LAYOUTS, SHAPE, SHAPE_3D, channels_last, contiguous, unaligned, with_gaps

from adan import Adan
from experiments.conformance.reference import ReferenceAdan

pytestmark = needs_compiler

FP32, FP64, BF16 = torch.float32, torch.float64, torch.bfloat16
HYPER = {"lr": 0.01, "weight_decay": 0.1, "max_grad_norm": 2.0}
# Around the widths of vectors (4 to 16 elements, unrolled), cache lines (64) and the norm's blocks (8192).
SIZES = (1, 7, 63, 64, 65, 1000, 8193, 100_003)
# Relative to the parameter, and to the learning rate.
TOLERANCES = {FP32: (2.0**-22, 1e-5), FP64: (2.0**-50, 1e-13), BF16: (2.0**-8 + 2.0**-22, 1e-5)}
STATES = ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad", "step")


@pytest.fixture
def threads():
    """Sets the number of threads for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def random(shape, dtype=FP32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=FP64).to(dtype)


def numbers(tensor):
    return tensor.detach().double().numpy().copy()


def follow(params, optimizer, stream):
    """Step at every list of gradients; each step must be that of the reference, from where the parameters then are.

    That leaves no room for what adds up over steps: a parameter in bf16 may be wrong by its own rounding.
    """
    group = optimizer.param_groups[0]
    hyper = {key: group[key] for key in ("lr", "weight_decay", "max_grad_norm", "no_prox", "betas", "eps")}
    reference = ReferenceAdan([{"params": [numbers(p) for p in params]}], **hyper)
    for grads in stream:
        reference.groups[0]["params"] = [numbers(p) for p in params]
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        optimizer.step()
        reference.step([[None if grad is None else numbers(grad) for grad in grads]])
        for param, expected in zip(params, reference.params, strict=True):
            relative, of_a_step = TOLERANCES[param.dtype]
            np.testing.assert_allclose(numbers(param), expected, rtol=relative, atol=of_a_step * group["lr"])


def stream_for(params, steps=6):
    return [[random(p.shape, p.dtype, seed=100 * k + i) for i, p in enumerate(params)] for k in range(steps)]


@pytest.mark.parametrize("dtype", [FP32, FP64, BF16], ids=["fp32", "fp64", "bf16"])
@pytest.mark.parametrize("hyper", [{}, {"no_prox": True, "max_grad_norm": 0.0}, {"max_grad_norm": 1e9, "eps": 1e-3}])
def test_every_step_is_the_references_at_every_size(dtype, hyper):
    params = [torch.nn.Parameter(random(size, dtype, seed=size)) for size in SIZES]
    optimizer = Adan(params, fused=True, **{**HYPER, **hyper})
    follow(params, optimizer, stream_for(params))
    assert optimizer.implementation == "fused-cpp"


def test_scalars_empty_tensors_and_mixed_types_in_one_group_share_one_norm():
    shapes = [(), (0,), (3, 0, 2), (5,), (), (2, 3), (70,), (1, 1)]
    params = [
        torch.nn.Parameter(random(shape, dtype, seed=i))
        for i, (shape, dtype) in enumerate((s, d) for s in shapes for d in (FP32, BF16, FP64))
    ]
    optimizer = Adan(params, fused=True, **HYPER)
    stream = stream_for(params)
    for k, grads in enumerate(stream):
        grads[k] = None
    follow(params, optimizer, stream)
    counts = [int(optimizer.state[param]["step"]) for param in params]
    assert counts == [5] * len(stream) + [6] * (len(params) - len(stream))


def test_a_group_of_empty_tensors_only():
    param = torch.nn.Parameter(torch.zeros(0, 3))
    optimizer = Adan([param], fused=True, max_grad_norm=1.0)
    param.grad = torch.zeros(0, 3)
    optimizer.step()
    assert optimizer.state[param]["step"] == 1 and param.shape == (0, 3)


@pytest.mark.parametrize("dtype", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", [SHAPE, SHAPE_3D], ids=["2d", "3d"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_and_gradients_may_lie_in_memory_as_they_like(layout, shape, dtype):
    params = [torch.nn.Parameter(layout(random(shape, dtype, seed=i))) for i in range(len(LAYOUTS) + 1)]
    strides = [param.stride() for param in params]
    addresses = [param.data_ptr() for param in params]
    turned = [*LAYOUTS, lambda values: values[..., :1].expand_as(values)]
    stream = [
        [turned[(i + k) % len(turned)](grad) for i, grad in enumerate(grads)]
        for k, grads in enumerate(stream_for(params, len(turned)))
    ]
    follow(params, Adan(params, fused=True, **HYPER), stream)
    assert [param.stride() for param in params] == strides
    assert [param.data_ptr() for param in params] == addresses


@pytest.mark.parametrize("layout", [with_gaps, unaligned])
def test_nothing_is_written_beside_a_view(layout):
    view = layout(random(SHAPE))
    param = torch.nn.Parameter(view)
    around = torch.empty(0).set_(view.untyped_storage())
    inside = torch.zeros_like(around, dtype=torch.bool)
    inside.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(True)
    before = around.clone()
    optimizer = Adan([param], fused=True, **HYPER)
    for _ in range(2):
        param.grad = torch.ones(SHAPE)
        optimizer.step()
    assert torch.equal(around[~inside], before[~inside]) and (~inside).any()
    assert (around[inside] != before[inside]).all()


def test_states_lie_as_the_parameter_does_and_are_the_same_numbers():
    values, grads = random(SHAPE), [random(SHAPE, seed=k) for k in range(1, 4)]
    ends = []
    for layout in (contiguous, channels_last):
        param = torch.nn.Parameter(layout(values))
        optimizer = Adan([param], fused=True, **HYPER)
        for grad in grads:
            param.grad = contiguous(grad)
            optimizer.step()
        assert optimizer.state[param]["exp_avg"].stride() == param.stride()
        ends.append([param.detach(), *(optimizer.state[param][name] for name in STATES)])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@EVERY
def test_a_negated_view_counts_with_its_sign(implementation):
    """Autograd leaves one: the imaginary part of a conjugate, where it is a single number."""
    param = torch.nn.Parameter(torch.ones(1))
    (torch.complex(torch.ones(1), param).conj() * torch.complex(torch.ones(1), torch.full((1,), 2.0))).real.backward()
    assert param.grad.is_neg() and param.grad.item() == 2.0
    many = torch.nn.Parameter(torch.ones(6))
    many.grad = torch.view_as_real(torch.full((6,), 1 + 2j).conj().resolve_conj())[:, 1].neg()
    optimizer = Adan([param, many], lr=0.1, **implementation)
    optimizer.step()
    optimizer.step()
    assert optimizer.state[param]["pre_grad"].item() == 2.0
    assert param.item() == pytest.approx(0.8, abs=1e-6) and many.tolist() == pytest.approx([0.8] * 6, abs=1e-6)


@pytest.mark.parametrize("clipping", [0.0, 0.5], ids=["free", "clipped"])
@pytest.mark.parametrize("states", [FP32, BF16], ids=["fp32 states", "bf16 states"])
def test_the_number_of_threads_does_not_change_a_bit(threads, clipping, states):
    shapes = [(300_001,), (17,), (101, 401), (), (70_000,)]
    ends = []
    for count in (1, 2, 3, 4):
        threads(count)
        params = [torch.nn.Parameter(random(shape, seed=i)) for i, shape in enumerate(shapes)]
        optimizer = Adan(params, fused=True, state_dtype=states, lr=0.01, weight_decay=0.1, max_grad_norm=clipping)
        for grads in stream_for(params, 3):
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad
            optimizer.step()
        ends.append([t for p in params for t in (p.detach(), *(optimizer.state[p][name] for name in STATES))])
    for end in ends[1:]:
        assert all(torch.equal(one, other) for one, other in zip(ends[0], end, strict=True))


@pytest.mark.parametrize(
    ("bad", "clipping", "spread"),
    [
        (float("nan"), 0.0, 1),
        (float("inf"), 0.0, 1),
        (-float("inf"), 0.0, 1),
        (float("inf"), 1.0, 1),  # the others are multiplied by zero
        (float("nan"), 1.0, 37),
    ],
)
def test_infinite_gradients_and_nan_spread_as_with_torchs_operations(bad, clipping, spread):
    ends = []
    for implementation in ({"fused": True}, {"foreach": True}):
        params = [torch.nn.Parameter(random((37,), seed=i)) for i in range(2)]
        optimizer = Adan(params, lr=0.01, max_grad_norm=clipping, **implementation)
        for step in range(4):
            for i, param in enumerate(params):
                param.grad = random((37,), seed=10 * step + i)
            if step == 1:
                params[0].grad[5] = bad
            optimizer.step()
        assert params[0].isnan().sum() == spread
        ends.append([t for p in params for t in (p.detach(), *(optimizer.state[p][name] for name in STATES))])
    for fused, listed in zip(*ends, strict=True):
        finite = listed.isfinite()
        assert torch.equal(fused.isfinite(), finite)
        torch.testing.assert_close(fused[finite], listed[finite], rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not hasattr(torch.Tensor, "grad_dtype"), reason="this torch has no Tensor.grad_dtype")
@pytest.mark.parametrize(
    ("param_dtype", "grad_dtype"),
    [
        (FP32, BF16),
        (FP32, FP64),
        (BF16, FP32),  # more digits than the parameter has
        (BF16, torch.float16),
    ],
    ids=str,
)
def test_gradients_may_have_a_type_of_their_own(param_dtype, grad_dtype):
    param = torch.nn.Parameter(random((33,), param_dtype))
    param.grad_dtype = grad_dtype
    optimizer = Adan([param], fused=True, lr=0.01)
    for step in range(3):
        param.grad = random((33,), grad_dtype, seed=step)
        optimizer.step()
        kept = optimizer.state[param]["pre_grad"]
        tolerance = 2.0**-8 if (param_dtype, grad_dtype) == (BF16, torch.float16) else 1e-7
        torch.testing.assert_close(kept, param.grad.to(kept.dtype), rtol=tolerance, atol=0.0)


@pytest.mark.skipif(not hasattr(torch.Tensor, "grad_dtype"), reason="this torch has no Tensor.grad_dtype")
@pytest.mark.parametrize(
    ("param_dtype", "other"),
    [
        (FP32, FP64),
        (FP32, BF16),
        (BF16, FP32),
        (BF16, torch.float16),
    ],
    ids=str,
)
def test_gradients_may_change_their_type_between_steps(param_dtype, other):
    param = torch.nn.Parameter(random((33,), param_dtype))
    optimizer = Adan([param], fused=True, lr=0.01)
    for step, dtype in enumerate((param_dtype, param_dtype, other, other, param_dtype, other)):
        param.grad = None
        param.grad_dtype = dtype
        param.grad = random((33,), dtype, seed=step)
        optimizer.step()
        kept = optimizer.state[param]["pre_grad"]
        torch.testing.assert_close(kept, param.grad.to(kept.dtype), rtol=1e-7, atol=0.0)
