"""States in bf16: their size, their bits, and what stochastic rounding is for."""

import io
import math

import pytest
import torch
from adan_implementations import EVERY, FUSED, has_compiler
from tensor_layouts import LAYOUTS, SHAPE, channels_last, contiguous

from adan import Adan, rounding

FP32, FP64, BF16 = torch.float32, torch.float64, torch.bfloat16
MOMENTS = ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad")
ROUNDINGS = pytest.mark.parametrize("how", ["stochastic", "nearest"])
IMPLEMENTATIONS = [{"foreach": True}, {"foreach": False}, *([{"fused": True}] if has_compiler else [])]
NAN_OF_A_GPU = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(FP32)


def random(shape, seed=0, dtype=FP32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=FP64).to(dtype)


def train(params, optimizer, steps, seed=0):
    for step in range(steps):
        for i, param in enumerate(params):
            param.grad = random(param.shape, 100 * (seed + step) + i, param.dtype)
        optimizer.step()


def states(params, optimizer):
    return [optimizer.state[param][name] for param in params for name in MOMENTS]


def bf16_optimizer(params, **hyper):
    return Adan(params, state_dtype=BF16, **{"lr": 0.01, "weight_decay": 0.1, "max_grad_norm": 1.0, **hyper})


def assert_same_bits(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert one.dtype == other.dtype and torch.equal(one.view(torch.int16), other.view(torch.int16))


def neighbours(low_bits):
    """Values in fp32 so many 65536ths of the way from one bf16 number to the next, and these two."""
    below = torch.tensor(1.5, dtype=BF16).float().view(torch.int32)
    as_floats = [torch.tensor(int(below) + extra, dtype=torch.int32).view(FP32) for extra in (0, low_bits, 1 << 16)]
    return as_floats[1], as_floats[0], as_floats[2]


@EVERY
@pytest.mark.parametrize("dtype", [FP32, BF16], ids=["fp32", "bf16"])
def test_states_take_eight_bytes_a_parameter(implementation, dtype):
    params = [torch.nn.Parameter(random((50, 20), dtype=dtype)), torch.nn.Parameter(random((7,), dtype=dtype))]
    optimizer = bf16_optimizer(params, **implementation)
    train(params, optimizer, 2)
    kept = [t for param in params for t in optimizer.state[param].values() if t.dim() > 0]
    assert sum(t.untyped_storage().nbytes() for t in kept) == 8 * 1007


@EVERY
def test_parameters_in_fp64_keep_states_in_fp64(implementation):
    params = [torch.nn.Parameter(random((5,), dtype=FP64))]
    optimizer, plain = bf16_optimizer(params, **implementation), [torch.nn.Parameter(random((5,), dtype=FP64))]
    train(params, optimizer, 5)
    train(plain, Adan(plain, lr=0.01, weight_decay=0.1, max_grad_norm=1.0, **implementation), 5)
    assert {t.dtype for t in states(params, optimizer)} == {FP64} and torch.equal(params[0], plain[0])


@ROUNDINGS
@pytest.mark.parametrize("dtype", [FP32, BF16], ids=["fp32", "bf16"])
def test_bits_of_states_are_the_same_whatever_steps(how, dtype):
    """Of torch's operations all; of the kernel, which contracts a * b + c, all but a thousandth: 1 in 2^16 is expected
    to fall to the other side for an error of one unit in fp32's last place."""
    shapes = [(1000,), (), (33, 65), (0,), (7,)]
    params = [torch.nn.Parameter(random(shape, i, dtype)) for i, shape in enumerate(shapes)]
    first = bf16_optimizer(params, state_rounding=how, max_grad_norm=0.0)
    train(params, first, 3)
    ends = []
    for implementation in IMPLEMENTATIONS:
        twins = [torch.nn.Parameter(param.detach().clone()) for param in params]
        optimizer = bf16_optimizer(twins, state_rounding=how, max_grad_norm=0.0)
        optimizer.load_state_dict(first.state_dict())
        optimizer.param_groups[0].update({"foreach": None, "fused": False, **implementation})
        train(twins, optimizer, 1, seed=9)
        ends.append(states(twins, optimizer))
    listed, single, *fused = ends
    assert_same_bits(listed, single)
    for end in fused:
        different = sum((a.view(torch.int16) != b.view(torch.int16)).sum() for a, b in zip(listed, end, strict=True))
        assert different <= 0.001 * sum(t.numel() for t in end)
        for a, b in zip(listed, end, strict=True):
            torch.testing.assert_close(a, b, rtol=2.0**-7, atol=1e-6)


@ROUNDINGS
@EVERY
def test_steps_are_repeatable_also_from_a_file_in_the_middle(how, implementation):
    shapes = [(129,), (4, 5), ()]
    params = [torch.nn.Parameter(random(shape, i)) for i, shape in enumerate(shapes)]
    optimizer = bf16_optimizer(params, state_rounding=how, **implementation)
    train(params, optimizer, 3)
    file = io.BytesIO()
    torch.save({"params": [p.detach() for p in params], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twins = [torch.nn.Parameter(value) for value in saved["params"]]
    other = Adan(twins)
    other.load_state_dict(saved["optimizer"])
    assert {t.dtype for t in states(twins, other)} == {BF16}
    train(params, optimizer, 3, seed=7)
    train(twins, other, 3, seed=7)
    assert_same_bits(states(params, optimizer), states(twins, other))
    assert all(torch.equal(one, two) for one, two in zip(params, twins, strict=True))


@EVERY
@pytest.mark.parametrize("layout", LAYOUTS)
def test_random_bits_follow_the_order_of_memory(layout, implementation):
    """Every implementation gives an element the same bits, in whatever layout the parameter and the gradient lie."""
    ends = []
    for arguments in (implementation, {"foreach": False}):
        param = torch.nn.Parameter(layout(random(SHAPE)))
        optimizer = bf16_optimizer([param], max_grad_norm=0.0, **arguments)
        for seed, of_grad in enumerate((contiguous, channels_last, layout)):
            param.grad = of_grad(random(SHAPE, seed + 1))
            optimizer.step()
        ends.append([contiguous(t) for t in states([param], optimizer)])
    for one, other in zip(*ends, strict=True):
        same = one.view(torch.int16) == other.view(torch.int16)
        assert same.float().mean() > 0.98  # else they would agree by chance: half of them


@pytest.mark.parametrize("field", rounding.FIELDS)
@pytest.mark.parametrize("low_bits", [1, 0x1000, 0x8000, 0xC001, 0xFFFF])
def test_rounding_up_is_as_likely_as_the_part_cut_off(field, low_bits):
    """Over elements of one step, and over steps of one element: within four standard deviations."""
    value, below, above = neighbours(low_bits)
    probability = low_bits / 65536
    count = 1 << 16
    over_elements = rounding.words(count, rounding.stream(3, 5), torch.device("cpu"))
    over_steps = torch.cat(
        [rounding.words(1, rounding.stream(3, step), torch.device("cpu")) for step in range(1, 4097)]
    )
    for words in (over_elements, over_steps):
        rounded = rounding.stochastic(value.repeat(len(words)), words, field).float()
        up = (rounded == above).double().mean().item()
        assert ((rounded == above) | (rounded == below)).all()
        assert abs(up - probability) <= 4 * math.sqrt(probability * (1 - probability) / len(words)) + 1 / len(words)


@EVERY
def test_what_a_step_rounds_is_unbiased(implementation):
    """The mean of 2^16 elements that all should be the same number, far finer than bf16 resolves it."""
    size, value = 1 << 16, neighbours(0x5555)[0].item()
    params = [torch.nn.Parameter(torch.zeros(size)) for _ in range(2)]
    optimizer = bf16_optimizer(params, betas=(0.5, 0.5, 0.5), max_grad_norm=0.0, **implementation)
    for param in params:
        param.grad = torch.full((size,), value * 2)
    optimizer.step()
    spacing, expected = 2.0**-7, {"exp_avg": value, "exp_avg_sq": 2 * value * value}
    for param in params:
        for name, number in expected.items():
            found = optimizer.state[param][name].double()
            width = spacing * 2 ** math.floor(math.log2(number))
            assert len(found.unique()) == 2
            assert abs(found.mean().item() - number) < 4 * width * 0.5 / math.sqrt(size)
    one, other = (optimizer.state[param]["exp_avg"] for param in params)
    assert not torch.equal(one, other), "two parameters must not be rounded alike"


@EVERY
def test_nearest_stands_still_where_stochastic_rounding_moves_on_average(implementation):
    """Squares decay by a thousandth a step, a quarter of bf16's half spacing: to nearest, they never decay at all."""
    size, steps = 4096, 200
    means = {}
    for how in ("nearest", "stochastic"):
        param = torch.nn.Parameter(torch.zeros(size))
        optimizer = bf16_optimizer([param], betas=(0.9, 0.9, 0.999), state_rounding=how, **implementation)
        param.grad = torch.ones(size)
        optimizer.step()
        optimizer.state[param]["exp_avg_sq"].fill_(1.0)
        optimizer.state[param]["pre_grad"].zero_()
        for _ in range(steps):
            param.grad = torch.zeros(size)
            optimizer.step()
        means[how] = optimizer.state[param]["exp_avg_sq"].double().mean().item()
    # 1.0 has the finer spacing of 2^-8 below it: half of it is 0.002, and the step is 0.001.
    assert means["nearest"] == 1.0
    assert means["stochastic"] == pytest.approx(0.999**steps, rel=0.005)


@EVERY
@ROUNDINGS
def test_nan_with_all_bits_set_stays_nan(how, implementation):
    """A carry would make a number of it. Infinities stay what they are, too."""
    param = torch.nn.Parameter(torch.zeros(64))
    optimizer = bf16_optimizer([param], state_rounding=how, max_grad_norm=0.0, **implementation)
    param.grad = torch.ones(64)
    optimizer.step()
    param.grad[5] = NAN_OF_A_GPU
    param.grad.view(torch.int32)[6] = -1  # the same with a sign
    param.grad[7], param.grad[8] = math.inf, -math.inf
    assert param.grad.view(torch.int32)[5] == 0x7FFFFFFF
    for _ in range(3):
        optimizer.step()
        for name in MOMENTS:
            state = optimizer.state[param][name]
            assert state[5:7].isnan().all() and state[9:].isfinite().all() and state[:5].isfinite().all(), name
            assert not state[7:9].isfinite().any() or name == "exp_avg_diff"
        assert optimizer.state[param]["pre_grad"][7:9].tolist() == [math.inf, -math.inf]


@EVERY
@pytest.mark.parametrize("source, target", [(FP32, BF16), (BF16, FP32), (FP32, None), (BF16, None)], ids=str)
def test_a_loaded_state_has_the_type_that_the_saved_group_says(source, target, implementation):
    """`load_state_dict` brings the saved groups' options, as always in torch; then the group may be changed."""
    params = [torch.nn.Parameter(random((40,)))]
    optimizer = Adan(params, lr=0.01, state_dtype=source, **implementation)
    train(params, optimizer, 3)
    twins = [torch.nn.Parameter(params[0].detach().clone())]
    other = Adan(twins, lr=0.5, state_dtype=target, **implementation)
    other.load_state_dict(optimizer.state_dict())
    assert {t.dtype for t in states(twins, other)} == {source}
    saved = optimizer.state_dict()
    saved["param_groups"] = [{**group, "state_dtype": target} for group in saved["param_groups"]]
    other.load_state_dict(saved)
    assert {t.dtype for t in states(twins, other)} == {target or FP32}
    for one, two in zip(states(params, optimizer), states(twins, other), strict=True):
        assert torch.equal(one.to(two.dtype).float(), two.float())
    train(twins, other, 1, seed=9)
    train(params, optimizer, 1, seed=9)
    torch.testing.assert_close(twins[0], params[0], rtol=0, atol=3e-3)


@pytest.mark.parametrize("implementation", [FUSED])
def test_half_the_states_in_bf16_and_half_in_fp32(implementation):
    """Two groups of one optimizer; the random bits of a parameter do not depend on how groups are stepped."""
    ends = []
    for first in ({"state_dtype": BF16}, {"state_dtype": FP32}):
        params = [torch.nn.Parameter(random((100,), i)) for i in range(3)]
        groups = [{"params": params[:2], **first}, {"params": params[2:], "state_dtype": BF16}]
        optimizer = Adan(groups, lr=0.01, **implementation)
        train(params, optimizer, 4)
        assert {t.dtype for t in states(params[:2], optimizer)} == {first["state_dtype"]}
        ends.append(states(params[2:], optimizer))
    assert_same_bits(*ends)


@EVERY
@pytest.mark.parametrize("before, after", [(None, BF16), (BF16, None), (BF16, FP32)], ids=str)
def test_another_type_asked_for_later_is_refused_until_states_are_cast(before, after, implementation):
    params = [torch.nn.Parameter(random((3, 4), i)) for i in range(3)]
    optimizer = Adan([{"params": params[:1]}, {"params": params[1:]}], state_dtype=before, **implementation)
    train(params, optimizer, 2)
    kept = [(param, param.detach().clone()) for param in params]
    kept += [(value, value.clone()) for values in optimizer.state.values() for value in values.values()]
    optimizer.param_groups[1]["state_dtype"] = after
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"param_groups\[1\]: state_dtype=.*load_state_dict\(state_dict\(\)\)"):
            optimizer.step()
    assert all(torch.equal(value, copy) for value, copy in kept)
    optimizer.load_state_dict(optimizer.state_dict())
    train(params, optimizer, 1)
    assert [{t.dtype for t in states([param], optimizer)} for param in params] == [
        {before or FP32},
        *[{after or FP32}] * 2,
    ]
    optimizer.param_groups[1]["state_dtype"] = None if after is FP32 else after
    train(params, optimizer, 1)
