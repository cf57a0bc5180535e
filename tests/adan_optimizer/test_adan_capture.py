"""Whole steps of the optimizer in a CUDA graph, with clipping, a rate in a tensor, and torch's gradient scaler."""

import pytest
import torch
from gpu_kernel_checks import ON_GPU, assert_same_bits

from adan import Adan

pytestmark = ON_GPU
SHAPES = ((64, 130), (5000,), (8, 3, 5, 5), (1,))
FP32, BF16 = torch.float32, torch.bfloat16


class Trained:
    """Parameters in two groups, gradients in the same memory throughout."""

    def __init__(self, dtype=FP32, state_dtype=None, scaler=None):
        generator = torch.Generator().manual_seed(0)
        self.params = [
            torch.nn.Parameter(torch.randn(shape, generator=generator).to("cuda", dtype)) for shape in SHAPES
        ]
        self.lr = torch.tensor(0.01, device="cuda")
        groups = [{"params": self.params[:2], "weight_decay": 0.1}, {"params": self.params[2:], "max_grad_norm": 0.5}]
        self.optimizer = Adan(groups, lr=self.lr, max_grad_norm=1.0, capturable=True, state_dtype=state_dtype)
        self.scaler = scaler
        if scaler is not None:
            scaler.scale(torch.zeros((), device="cuda"))
        for param in self.params:
            param.grad = torch.zeros_like(param)

    def prepare(self, step, infinite=False):
        """The gradients of a step, some far above the thresholds and some below, and its rate."""
        generator = torch.Generator().manual_seed(step)
        for param in (param for param in self.params if param.grad is not None):
            grad = (1e-4, 1.0, 30.0)[step % 3] * torch.randn(param.shape, generator=generator).to(param)
            param.grad.copy_(grad if self.scaler is None else self.scaler.scale(grad))
        if infinite:
            self.params[step % len(self.params)].grad.view(-1)[-1] = float("inf")
        self.lr.fill_(0.01 / (1 + step))

    def step(self):
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def everything(self):
        return [*self.params, *(value for state in self.optimizer.state.values() for value in state.values())]


def captured(function):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph


def assert_same(one, other):
    for found, expected in zip(one.everything(), other.everything(), strict=True):
        assert_same_bits(found.detach(), expected.detach())


@pytest.mark.parametrize(
    ("dtype", "state_dtype"), [(FP32, None), (FP32, BF16), (BF16, None)], ids=["fp32", "bf16 states", "bf16"]
)
def test_twenty_replays_with_changing_rates_are_eager_steps_bit_for_bit(dtype, state_dtype):
    replayed, eager = Trained(dtype, state_dtype), Trained(dtype, state_dtype)
    for one in (replayed, eager):
        one.prepare(0)
        one.step()
    graph = captured(replayed.step)
    assert_same(replayed, eager)  # capturing runs nothing
    for step in range(1, 21):
        for one in (replayed, eager):
            one.prepare(step)
        graph.replay()
        eager.step()
        assert_same(replayed, eager)
    assert all(int(replayed.optimizer.state[param]["step"]) == 21 for param in replayed.params)


def test_a_captured_scaler_leaves_out_the_steps_that_an_eager_one_leaves_out():
    replayed, eager = (
        Trained(scaler=torch.amp.GradScaler("cuda", init_scale=2.0**10, growth_interval=3)) for _ in "12"
    )
    scales = set()
    for step in range(20):
        for one in (replayed, eager):
            one.prepare(step, infinite=step in (0, 5, 6, 13))
        if step == 0:
            replayed.step()
            graph = captured(replayed.step)
        else:
            graph.replay()
        eager.step()
        assert_same(replayed, eager)
        scales.add(eager.scaler.get_scale())
        assert replayed.scaler.get_scale() == eager.scaler.get_scale()
    assert len(scales) > 2
    assert all(int(replayed.optimizer.state[param]["step"]) == 16 for param in replayed.params)


def test_eager_steps_between_replays_with_gradients_that_move_or_lack_do_no_harm():
    """All that the optimizer keeps is made anew; what the graph reads stays, though memory is given out again."""
    replayed, eager = Trained(), Trained()
    for one in (replayed, eager):
        one.prepare(0)
        one.step()
    graph, fixed = captured(replayed.step), [param.grad for param in replayed.params]
    for step in range(1, 10):
        if step % 3 == 0:
            for one in (replayed, eager):
                for param in one.params:
                    param.grad = torch.empty_like(param)
                one.params[step % len(SHAPES)].grad = None
        for one in (replayed, eager):
            one.prepare(step)
        replayed.step() if step % 3 == 0 else graph.replay()
        eager.step()
        torch.cuda.empty_cache()
        filled = [torch.full((size,), -1, device="cuda") for size in (8, 64, 512, 4096)]
        for one, other, grad in zip(replayed.params, eager.params, fixed, strict=True):
            one.grad, other.grad = grad, torch.empty_like(other)
        del filled
        assert_same(replayed, eager)


def test_a_replay_is_two_launches_for_the_norm_and_two_a_group_and_copies_nothing():
    from torch.profiler import ProfilerActivity, profile

    trained = Trained()
    trained.prepare(0)
    trained.step()
    graph = captured(trained.step)
    graph.replay()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        graph.replay()
        torch.cuda.synchronize()
    on_device = [event.name for event in profiled.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    assert sorted(on_device) == ["prepare", "prepare", "squares", "total", "update", "update"]


def test_a_step_that_clips_under_a_scaler_never_waits_for_the_device():
    trained = Trained(scaler=torch.amp.GradScaler("cuda", init_scale=8.0))
    trained.prepare(0)
    trained.step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            for param in trained.params:
                param.grad = param.grad.clone()
            trained.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(int(trained.optimizer.state[param]["step"]) == 4 for param in trained.params)
