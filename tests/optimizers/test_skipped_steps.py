"""Under a gradient scaler that leaves out steps on the device: bit for bit what torch's leaves, which asks; also where
the update is recorded once and replayed, whether its gradients are finite or not."""

from itertools import pairwise

import pytest
import torch
from kept_on_device import ON_GPU, Trained, words
from recorded_operations import HostRead, RecordedOperations, into_a_graph, into_operations

from experiments import optimizers
from experiments.training.scaling import ScalerOnDevice

INFINITE = {0: float("inf"), 3: float("nan"), 4: float("-inf"), 8: float("inf")}
CAPTURABLE = [
    *({"name": name} for name in optimizers.names() if optimizers.info(name).capturable and name != "adan"),
    {"name": "sgd", "momentum": 0.0, "nesterov": False},
    {"name": "padam", "bias_correction": True},
    {"name": "rmsprop", "momentum": 0.9},
]
EACH = pytest.mark.parametrize("optim", CAPTURABLE, ids=words)


class Scaled(Trained):
    """`Trained` under a scaler."""

    def __init__(self, optim, kind, device="cpu"):
        super().__init__(optim, device)
        self.scaler = kind(device, init_scale=2.0**10, growth_interval=3)
        self.scaler.scale(torch.zeros((), device=device))  # sets its scale up
        self.infinite = torch.zeros((), device=device)

    def prepare(self, step):
        super().prepare(step)
        gradients = [parameter.grad for parameter in self.module.parameters()]
        for gradient in gradients:
            gradient.copy_(self.scaler.scale(gradient))
        if step in INFINITE:
            gradients[step % len(gradients)].view(-1)[0] = INFINITE[step]

    def update(self):
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def everything(self):
        return [*super().everything(), self.scaler._scale, self.scaler._growth_tracker]


def assert_same(one, other):
    found, expected = one.everything(), other.everything()
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


@EACH
def test_every_step_is_torchs_bit_for_bit(as_on_a_gpu, optim):
    ours, torchs = Scaled(optim, ScalerOnDevice), Scaled(optim, torch.amp.GradScaler)
    scales = [2.0**10]
    for step in range(12):
        for one in (ours, torchs):
            one.prepare(step)
        before = [tensor.detach().clone() for tensor in ours.everything()[:-2]]
        for one in (ours, torchs):
            one.update()
        assert_same(ours, torchs)
        if step in INFINITE and step > 0:
            assert all(map(torch.equal, ours.everything()[:-2], before))
        scales.append(ours.scaler.get_scale())
    moves = {after / before for before, after in pairwise(scales)}
    assert moves == {0.5, 1.0, 2.0}, "the scale must have fallen and risen under way"


def replays_like_torchs(optim, device, record):
    ours, torchs = Scaled(optim, ScalerOnDevice, device), Scaled(optim, torch.amp.GradScaler, device)
    for step in range(2):
        for one in (ours, torchs):
            one.prepare(step)
            one.update()
    assert ours.scaler.decides_on_device(ours.optimizer)
    ours.prepare(2)
    gradients = [parameter.grad for parameter in ours.module.parameters()]
    replay = record(ours.update, [*ours.everything(), *gradients])
    for step in range(2, 10):
        for one in (ours, torchs):
            one.prepare(step)
        replay()
        torchs.update()
        assert_same(ours, torchs)


@EACH
def test_an_update_reads_nothing_on_the_host_and_is_replayed_with_other_gradients(as_on_a_gpu, optim):
    replays_like_torchs(optim, "cpu", into_operations)


@ON_GPU
@pytest.mark.parametrize("optim", [{"name": "adan"}, {"name": "adan", "max_grad_norm": 1.0}, *CAPTURABLE], ids=words)
def test_an_update_is_replayed_from_a_graph_with_other_gradients(optim):
    replays_like_torchs(optim, "cuda", into_a_graph)


@EACH
def test_a_first_step_that_is_left_out_leaves_nothing_behind(as_on_a_gpu, optim):
    ours, undisturbed = Scaled(optim, ScalerOnDevice), Scaled(optim, ScalerOnDevice)
    for step in (0, 1, 2):
        for one in (ours,) if step in INFINITE else (ours, undisturbed):
            one.prepare(step)
            one.update()
    assert all(map(torch.equal, ours.module.parameters(), undisturbed.module.parameters()))


@pytest.mark.parametrize(
    ("name", "waits_at"), [("rmsprop", (0, 1)), ("lamb", range(4)), ("adam", ())], ids=["rmsprop", "lamb", "adam"]
)
def test_first_steps_and_those_of_optimizers_that_count_on_the_host_wait(as_on_a_gpu, name, waits_at):
    """A first step that was left out is followed by another first step."""
    trained = Scaled({"name": name}, ScalerOnDevice)
    for step in range(4):
        trained.prepare(step)
        assert trained.scaler.decides_on_device(trained.optimizer) == (step not in waits_at)
        if step in waits_at:
            trained.update()
        else:
            with RecordedOperations():  # where a read on the host raises
                trained.update()


def test_a_parameter_whose_first_gradient_comes_late_is_asked_about(as_on_a_gpu):
    trained = Scaled({"name": "nadam"}, ScalerOnDevice)
    late = next(trained.module.parameters())
    gradient, late.grad = late.grad, None
    for _ in range(3):
        for parameter in trained.module.parameters():
            if parameter is not late:
                parameter.grad.fill_(1.0)
        trained.update()
    assert trained.scaler.decides_on_device(trained.optimizer)
    late.grad = gradient.fill_(float("inf"))
    assert not trained.scaler.decides_on_device(trained.optimizer)
    with pytest.raises(HostRead), RecordedOperations():
        trained.update()
