"""What the norm on a GPU must be, and cost, checked on one device; as `gpu_kernel_checks`."""

import math
from contextlib import contextmanager

import numpy as np
import torch
from gpu_kernel_checks import SIZES, array, assert_same_bits
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from adan import Adan, group_step
from adan.kernels.gpu import Launch
from adan.kernels.gpu_squares import SumOfSquares
from experiments.conformance.reference import ReferenceAdan

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@contextmanager
def stepped_by_the_kernel():
    """Within it every optimizer takes the GPU kernel, interpreted on a CPU."""
    choose = group_step._choose
    group_step._choose = lambda group, param, small=False: group_step.FUSED_GPU
    try:
        yield
    finally:
        group_step._choose = choose


class Recorded(TorchDispatchMode):
    """What an optimizer asks of a device: `launches`, names of kernels, and `operations` of torch."""

    def __init__(self):
        super().__init__()
        self.launches, self.operations, self.runs = [], [], []

    def __enter__(self):
        self._run = run = Launch.run

        def recorded(launch):
            self.launches.append(launch.kernel.__name__)
            self.runs.append(lambda: run(launch))
            with _disable_current_modes():  # the interpreter's own copies
                run(launch)

        Launch.run = recorded
        return super().__enter__()

    def __exit__(self, *error):
        Launch.run = self._run
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace != "profiler":
            self.operations.append(str(function))
        return function(*args, **kwargs or {})


def tensors_of(device, dtypes=TYPES, offset=0, sizes=SIZES, seed=0):
    """Random tensors of every size in every type, each `offset` elements into its memory."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for size in sizes:
        for dtype in dtypes:
            memory = torch.zeros(offset + size, dtype=dtype, device=device)
            memory[offset:].copy_(torch.randn(size, generator=generator, dtype=torch.float64))
            found.append(memory[offset:])
    return found


def exact(tensors):
    """The sum of squares, rounded once."""
    return math.fsum(value**2 for tensor in tensors for value in array(tensor).ravel())


def equals_the_exact_sum(device, dtypes, offset):
    tensors = tensors_of(device, dtypes, offset)
    found = SumOfSquares()(tensors)
    assert found.dtype is torch.float64 and found.shape == () and found.device.type == device
    np.testing.assert_allclose(float(found), exact(tensors), rtol=1e-14)


def sees_every_element_once(device):
    """Each alone in a sea of zeros, at the ends of blocks and chunks and in the last elements of a tensor."""
    values = torch.zeros(3 * 4096 + 1030, device=device)
    summed = SumOfSquares()
    for place in (0, 255, 256, 1023, 1024, 4095, 4096, 8191, 3 * 4096, 3 * 4096 + 1023, 3 * 4096 + 1024, -1):
        values[place] = 3.0
        assert float(summed([values])) == 9.0
        values[place] = 0.0


def has_no_smallest_and_largest_number(device):
    """Squares that fp32 cannot hold; what is not finite is not finite in the sum; nothing has none."""
    summed = SumOfSquares()
    tensor = torch.full((1100,), 1e30, device=device)
    np.testing.assert_allclose(float(summed([tensor])), 1100 * float(tensor[0]) ** 2, rtol=1e-14)
    tensor.fill_(1e-30)
    np.testing.assert_allclose(float(summed([tensor])), 1100 * float(tensor[0]) ** 2, rtol=1e-14)
    tensor[1099] = float("-inf")
    assert float(summed([tensor])) == float("inf")
    tensor[3] = float("nan")
    assert math.isnan(float(summed([tensor])))
    assert float(SumOfSquares()([tensor[:0], tensor[:0].half()])) == 0.0


def is_always_the_same_bits(device):
    """Of the same tensors, in the same memory or another."""
    tensors = tensors_of(device, (torch.float32, torch.bfloat16))
    first = SumOfSquares()(tensors)
    for again in (tensors, [tensor.clone() for tensor in tensors]):
        assert_same_bits(SumOfSquares()(again), first)


def parameters(device, dtype=torch.float32, sizes=((40, 30), (5000,), (3, 4, 5, 6), (1,))):
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(size, generator=generator).to(device, dtype)) for size in sizes]


def give_gradients(params, step):
    generator = torch.Generator().manual_seed(100 + step)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator, dtype=torch.float64).to(param)


def sum_of(optimizer):
    plan = optimizer._planned()
    for group, step in plan.pairs:
        step.read_options(group)
    plan.attach_gradients(optimizer.state)
    return plan.sum_of_squares(None).clone()


def is_one_over_all_groups(device):
    """The bits are the same however parameters that stay in order are cut into groups; in any order the number is."""
    with stepped_by_the_kernel():
        params = parameters(device)
        give_gradients(params, 0)
        expected = sum_of(Adan(params, max_grad_norm=1.0))
        np.testing.assert_allclose(float(expected), exact([param.grad for param in params]), rtol=1e-14)
        for cut in (1, 2, 3):
            groups = [{"params": params[:cut], "weight_decay": 0.1}, {"params": params[cut:], "max_grad_norm": 0.0}]
            assert_same_bits(sum_of(Adan(groups, max_grad_norm=1.0)), expected)
        turned = Adan([{"params": params[2:]}, {"params": params[:2]}], max_grad_norm=1.0)
        np.testing.assert_allclose(float(sum_of(turned)), float(expected), rtol=1e-15)


def takes_gradients_of_any_layout(device):
    """In another order of memory; with gaps, or expanded, which `torch` sums; of mixed types."""
    with stepped_by_the_kernel():
        image, matrix, row = parameters(device, sizes=((2, 3, 8, 8), (6, 7), (9,)))
        half = parameters(device, torch.bfloat16, ((300,),))[0]
        give_gradients([image, matrix, row, half], 0)
        image.grad = image.grad.contiguous(memory_format=torch.channels_last)
        matrix.grad = torch.randn(7, 12, device=device)[:, ::2].t()
        row.grad = torch.full((), 2.5, device=device).expand(9)
        params = [image, matrix, row, half]
        found = sum_of(Adan([{"params": params[:2]}, {"params": params[2:]}], max_grad_norm=1.0))
        np.testing.assert_allclose(float(found), exact([param.grad for param in params]), rtol=1e-6)


def follows_the_reference_where_it_clips(device):
    """Thresholds of their own for two groups, with a scaler; one parameter's first gradient comes late."""
    with stepped_by_the_kernel():
        params = parameters(device, torch.float64)
        limits = [{"max_grad_norm": 1.0}, {"max_grad_norm": 0.0}, {"max_grad_norm": 1e9}]
        parts = [params[:1], params[1:2], params[2:]]
        groups = [{"params": part, **limit} for part, limit in zip(parts, limits, strict=True)]
        reference = ReferenceAdan(
            [{"params": [array(p) for p in part], **limit} for part, limit in zip(parts, limits, strict=True)], lr=0.01
        )
        optimizer = Adan(groups, lr=torch.tensor(0.01, dtype=torch.float64, device=device))
        for step in range(4):
            give_gradients(params, step)
            if step < 2:
                params[3].grad = None
            grads = [None if p.grad is None else array(p.grad) / 8 for p in params]
            reference.step([grads[:1], grads[1:2], grads[2:]])
            optimizer.grad_scale = torch.tensor(8.0, device=device)
            optimizer.found_inf = torch.tensor(0.0, device=device)
            optimizer.step()
        for param, expected in zip(params, reference.params, strict=True):
            np.testing.assert_allclose(array(param), expected, rtol=0, atol=1e-12)


def a_step_that_clips_is_launches_alone(device):
    """Two for the norm and two a group, and no operation of torch once tables and states stand: nothing is copied,
    allocated or read on the host, so that it can be captured. A scaler's inverse scale is the one exception."""
    with stepped_by_the_kernel():
        params = parameters(device)
        groups = [{"params": params[:2], "weight_decay": 0.1}, {"params": params[2:]}]
        lr = 0.01 if device == "cpu" else torch.tensor(0.01, device=device)  # one on the CPU is read at every step
        optimizer = Adan(groups, lr=lr, max_grad_norm=1.0)
        give_gradients(params, 0)
        optimizer.step()
        expected = ["squares", "total", "prepare", "update", "prepare", "update"]
        with Recorded() as recorded:
            optimizer.step()
        assert (recorded.launches, recorded.operations) == (expected, [])
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(8.0, device=device), torch.tensor(0.0, device=device)
        with Recorded() as recorded:
            optimizer.step()
        assert recorded.launches == expected
        assert recorded.operations == ["aten.reciprocal.default", "aten.mul.Tensor"]


def a_norm_is_two_launches_whatever_it_is_of(device):
    """Of one type; one more for each other type. However many tensors there are."""
    many = tensors_of(device, (torch.float32,), sizes=range(0, 40))
    for tensors, launches in ((many[5:6], 2), (many, 2), (tensors_of(device, TYPES, sizes=(3, 5000)), 5)):
        summed = SumOfSquares()
        summed(tensors)
        with Recorded() as recorded:
            summed(tensors)
        assert len(recorded.launches) == launches and recorded.operations == []


def launches_replayed_are_eager_steps(device):
    """What one step launches, launched again with other gradients, rates and verdicts of a scaler: all in the same
    memory, as a graph has it."""
    with stepped_by_the_kernel():
        twins = []
        for _ in range(2):
            params = parameters(device, sizes=((1100,), (6, 5)))
            give_gradients(params, 0)
            lr, found_inf = torch.tensor(0.01, device=device), torch.tensor(0.0, device=device)
            optimizer = Adan([{"params": params[:1]}, {"params": params[1:]}], lr=lr, max_grad_norm=1.0)
            optimizer.found_inf = found_inf
            optimizer.step()
            twins.append((params, lr, found_inf, optimizer))
        with Recorded() as recorded:
            twins[0][-1].step()
        twins[1][-1].step()
        for step in range(2, 12):
            for params, lr, found_inf, _ in twins:
                generator = torch.Generator().manual_seed(step)
                for param in params:
                    param.grad.copy_(10.0 ** -(step % 4) * torch.randn(param.shape, generator=generator))
                lr.fill_(0.01 / step)
                found_inf.fill_(float(step in (5, 6)))
            for run in recorded.runs:
                run()
            twins[1][-1].step()
            for one, other in zip(twins[0][0], twins[1][0], strict=True):
                assert_same_bits(one.detach(), other.detach())
                for name, value in twins[0][-1].state[one].items():
                    assert_same_bits(value, twins[1][-1].state[other][name])
        assert {int(state["step"]) for state in twins[0][-1].state.values()} == {10}
