"""What the GPU kernel must do, checked on one device: a CUDA one, or the CPU in a process that called `interpret`."""

import os
from importlib.metadata import version
from itertools import compress

import numpy as np
import pytest
import torch
from packaging.version import Version

from adan import rounding
from adan.kernels.gpu import Launcher, unavailable
from adan.slots import Slot
from experiments.conformance.reference import ReferenceAdan

HYPER = {"lr": 0.01, "betas": (0.98, 0.92, 0.99), "eps": 1e-8, "weight_decay": 0.02, "no_prox": False}
MOMENTS = ("exp_avg", "exp_avg_diff", "exp_avg_sq")
ON_GPU = pytest.mark.gpu
# More than one program (4096 elements), one and a bit, whole blocks, tails alone, nothing.
SIZES = (4096 + 1024 + 5, 2048, 1027, 0, 257, 1)


def require_interpreter():
    """Skip where the installed Triton cannot interpret with the installed NumPy."""
    if Version(version("triton")) < Version("3.7") and Version(np.__version__) >= Version("2.5.0.dev0"):
        pytest.skip(
            f"Triton {version('triton')} cannot interpret kernels with NumPy {np.__version__} (only 0-dimensional "
            "arrays can be converted); install an older NumPy or a newer Triton"
        )


def interpret():
    """Make Triton run kernels on the CPU in this process."""
    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


def make_slots(device, sizes=SIZES, param=torch.float32, state=torch.float32, offset=0, first_number=0):
    """Slots of random parameters, each `offset` elements into its memory; gradients are zeros."""
    generator = torch.Generator().manual_seed(len(sizes) + sum(sizes))

    def tensor(values, dtype):
        memory = torch.zeros(offset + len(values), dtype=dtype, device=device)
        memory[offset:].copy_(values)
        return memory[offset:]

    return [
        Slot(
            tensor(torch.randn(size, generator=generator, dtype=torch.float64), param),
            tensor(torch.zeros(size), param),
            *(tensor(torch.zeros(size), state) for _ in range(4)),
            step=torch.zeros((), device=device),
            number=first_number + index,
        )
        for index, size in enumerate(sizes)
    ]


def set_gradients(slots, step):
    generator = torch.Generator().manual_seed(1000 + step)
    for slot in slots:
        slot.grad.copy_(torch.randn(slot.grad.shape, generator=generator, dtype=torch.float64))


def contents(slots):
    """Copies of everything that a step changes."""
    return [[getattr(s, name).clone() for name in ("param", *MOMENTS, "pre_grad", "step")] for s in slots]


def assert_same_bits(found, expected):
    assert torch.equal(bits(found), bits(expected))


def bits(tensor):
    return tensor.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


def array(tensor):
    return tensor.detach().cpu().double().numpy()


def follows_the_reference(device, param, no_prox, offset, tensor_lr, tolerance):
    """Five steps of parameters of which one gets its first gradient at the third; gradients scaled on the fly."""
    assert unavailable(torch.device(device)) is None
    state = torch.float64 if param is torch.float64 else torch.float32
    slots, launcher = make_slots(device, param=param, state=state, offset=offset), Launcher()
    start = [array(slot.param) for slot in slots]
    hyper = HYPER | {"no_prox": no_prox}
    reference = ReferenceAdan([{"params": start}], **hyper)
    lr = torch.tensor(hyper["lr"], device=device, dtype=torch.float64) if tensor_lr else hyper["lr"]
    for step in range(5):
        present = [index != 1 or step >= 2 for index in range(len(slots))]
        set_gradients(slots, step)
        grads = [array(slot.grad) for slot in slots]
        scale = None if step == 0 else torch.tensor(0.5 + step / 8, device=device)
        factor = 1.0 if scale is None else float(scale)
        launcher.step(list(compress(slots, present)), **hyper | {"lr": lr}, scale=scale)
        reference.step([[factor * grad if here else None for grad, here in zip(grads, present, strict=True)]])
        for slot, grad in zip(slots, grads, strict=True):
            np.testing.assert_array_equal(array(slot.grad), grad)
    assert [float(slot.step) for slot in slots] == [5, 3, 5, 5, 5, 5]
    for slot, expected in zip(slots, reference.params, strict=True):
        np.testing.assert_allclose(array(slot.param), expected, rtol=0, atol=tolerance)


def mixed_types_in_one_step(device):
    """Parameters of four types and states of three, in one call: each as if it were stepped alone."""
    pairs = [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float16, torch.bfloat16),
    ]

    def slots():
        return [
            make_slots(device, (65,), param, state, first_number=number)[0]
            for number, (param, state) in enumerate(pairs)
        ]

    together, alone = slots(), slots()
    launcher, launchers = Launcher(), [Launcher() for _ in pairs]
    for step in range(2):
        set_gradients(together, step)
        set_gradients(alone, step)
        launcher.step(together, **HYPER, stochastic=True)
        for one, slot in zip(launchers, alone, strict=True):
            one.step([slot], **HYPER, stochastic=True)
    for a, b in zip(contents(together), contents(alone), strict=True):
        for found, expected in zip(a, b, strict=True):
            assert_same_bits(found, expected)


def states_have_these_bits(device, param, state, stochastic):
    """Every state of three steps, bit by bit: fp32 operations in their written order, then the rounding."""
    slots, launcher = make_slots(device, (1027, 70), param, state, first_number=11), Launcher()
    beta1, beta2, beta3 = HYPER["betas"]
    scale = torch.tensor(0.7, device=device)
    for step in range(1, 4):
        set_gradients(slots, step)
        before = contents(slots)
        launcher.step(slots, **HYPER, scale=scale, stochastic=stochastic)
        for slot, (_, *old) in zip(slots, before, strict=True):
            m, v, n, previous = (tensor.float() for tensor in old[:4])
            g = slot.grad.float() * scale
            difference = g - (g if step == 1 else previous)
            look_ahead = g + beta2 * difference
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * difference
            n = beta3 * n + (1 - beta3) * look_ahead * look_ahead
            words = rounding.words(slot.grad.numel(), rounding.stream(slot.number, step), g.device)
            for name, value in zip(MOMENTS, (m, v, n), strict=True):
                expected = rounding.stochastic(value, words, name) if stochastic else value.to(state)
                assert_same_bits(getattr(slot, name), expected)
            assert_same_bits(slot.pre_grad, g.to(state))


def parameters_in_half_precision_are_rounded_to_nearest(device, param):
    """Against the same step of fp32 parameters with the same values and gradients."""
    low, full = make_slots(device, (1100,), param)[0], make_slots(device, (1100,))[0]
    set_gradients([low], 0)
    full.param.copy_(low.param.float())
    full.grad.copy_(low.grad.float())
    Launcher().step([low], **HYPER)
    Launcher().step([full], **HYPER)
    assert_same_bits(low.param, full.param.to(param))


def not_a_number_stays(device):
    """NaN and infinite gradients reach the states in bf16 as what they are, in both roundings."""
    for stochastic in (False, True):
        slot = make_slots(device, (8,), state=torch.bfloat16)[0]
        slot.grad.fill_(1.0)
        slot.grad.view(torch.int32)[0] = 0x7FFFFFFF  # a carry would make it zero
        slot.grad[1], slot.grad[2] = float("inf"), -float("inf")
        Launcher().step([slot], **HYPER, stochastic=stochastic)
        assert slot.exp_avg[0].isnan() and slot.pre_grad[0].isnan() and slot.exp_avg_sq[0].isnan()
        assert slot.exp_avg[1:3].tolist() == slot.pre_grad[1:3].tolist() == [float("inf"), -float("inf")]
        assert slot.exp_avg[3:].isfinite().all()


def overflow_changes_nothing(device, found):
    """At a first step and at a later one, for any value but 0; then it goes on as if nothing had been."""
    disturbed, undisturbed = make_slots(device), make_slots(device)
    one, other = Launcher(), Launcher()
    no, yes = torch.tensor(0.0, device=device), torch.tensor(found, device=device)
    for step in range(2):
        set_gradients(disturbed, 99)
        before = contents(disturbed)
        one.step(disturbed, **HYPER, scale=torch.tensor(float("nan"), device=device), found_inf=yes)
        for a, b in zip(before, contents(disturbed), strict=True):
            for x, y in zip(a, b, strict=True):
                assert_same_bits(x, y)
        for slots, launcher in ((disturbed, one), (undisturbed, other)):
            set_gradients(slots, step)
            launcher.step(slots, **HYPER, found_inf=no if slots is disturbed else None)
    for a, b in zip(contents(disturbed), contents(undisturbed), strict=True):
        for x, y in zip(a, b, strict=True):
            assert_same_bits(x, y)


def gradients_may_move(device):
    """New gradient tensors at every step, as `zero_grad(set_to_none=True)` makes them, and new states once."""
    moving, standing = make_slots(device, (1200, 30)), make_slots(device, (1200, 30))
    one, other = Launcher(), Launcher()
    kept = []
    for step in range(3):
        for slot in moving:
            kept.append(slot.grad)
            slot.grad = torch.empty_like(slot.grad)
        if step == 2:
            kept.append(moving[0].exp_avg)
            moving[0].exp_avg = moving[0].exp_avg.clone()
        for slots, launcher in ((moving, one), (standing, other)):
            set_gradients(slots, step)
            launcher.step(slots, **HYPER)
    for a, b in zip(contents(moving), contents(standing), strict=True):
        for x, y in zip(a, b, strict=True):
            assert_same_bits(x, y)


def bias_corrections_keep_their_digits(device):
    """Equal gradients make every step exactly lr, also with betas whose distance from 1 fp32 cannot hold."""
    slot, launcher = make_slots(device, (64,))[0], Launcher()
    slot.grad.fill_(0.5)
    slot.param.fill_(0.0)
    for step in range(1, 4):
        launcher.step([slot], **HYPER | {"betas": (0.9999, 0.9999, 0.99999), "weight_decay": 0.0})
        np.testing.assert_allclose(array(slot.param), -0.01 * step, rtol=2e-6)


def decay_keeps_its_digits(device, no_prox):
    """Without gradients only the decay is left: 3e-6 a step, of which 1 + 3e-6 in fp32 would lose 0.7 percent."""
    slot, launcher = make_slots(device, (2000,))[0], Launcher()
    before = array(slot.param)
    for _ in range(4):
        launcher.step([slot], **HYPER | {"lr": 1e-3, "weight_decay": 3e-3, "no_prox": no_prox})
    lost = np.mean(1 - array(slot.param) / before)
    np.testing.assert_allclose(lost, 4 * 3e-6, rtol=2e-3)


def zero_betas(device):
    """No averaging at all: sign descent, since m = g and n = (g + 0 D)^2."""
    slot = make_slots(device, (100,))[0]
    slot.grad.fill_(-2.0)
    slot.param.fill_(0.0)
    for _ in range(2):
        Launcher().step([slot], **HYPER | {"betas": (0.0, 0.0, 0.0), "weight_decay": 0.0})
    np.testing.assert_allclose(array(slot.param), 0.02, rtol=1e-6)


def random_words_count_modulo_32_bits(device):
    """Elements after the first 2^32 take the words of the first ones again, in the tensor's stream of that step."""
    from gpu_kernel_words import write_words

    stream = rounding.stream(3, 7)
    expected = rounding.words(2048, stream, torch.device(device))
    for first in (0, 1024, 2**32, 5 * 2**32 + 1024):
        out = torch.zeros(1024, dtype=torch.int64, device=device)
        write_words[(1,)](out, torch.tensor([first, stream], device=device), 1024)
        assert torch.equal(out, expected[first % 2**32 :][:1024])
