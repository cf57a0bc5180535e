"""A loss whose terms only the forward pass counts, its parts, and the norms of an epoch: whatever the split."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from experiments.training.divergence import Divergence
from experiments.training.norms import Norms
from experiments.training.precision import gradient_scaler
from experiments.training.step import Step, read
from experiments.training.task import Loss, Part

IMAGES = torch.arange(24, dtype=torch.float64).reshape(6, 4) / 24
BOXES = torch.tensor([0, 3, 1, 0, 2, 5])  # of each image


class CountingBoxes:
    """Sums over boxes; how many there are a batch of images alone knows."""

    def __init__(self, micro_batch: int) -> None:
        torch.manual_seed(0)
        self.module, self.micro_batch = nn.Linear(4, 1).double(), micro_batch

    def count(self, update: int) -> int:
        return len(IMAGES)

    def micro_batches(self, update: int):
        yield from zip(IMAGES.split(self.micro_batch), BOXES.split(self.micro_batch), strict=True)

    def loss(self, module, batch) -> Loss:
        images, boxes = batch
        errors = (module(images)[:, 0] - 1).square() * boxes
        auxiliary = 0.1 * module(images).sum()
        return Loss(errors.sum() + auxiliary, count=boxes.sum(), parts={"auxiliary": auxiliary})


def stepped(micro_batch: int, clip: float | None = None):
    task, device = CountingBoxes(micro_batch), torch.device("cpu")
    optimizer = torch.optim.SGD(task.module.parameters(), lr=0.1)
    norms = Norms(task.module, 1, device)
    divergence = Divergence(task.module, {"": optimizer}, 1)
    scaler, part = gradient_scaler("fp32", device), Part(micro_batch=micro_batch)
    module = task.module
    step = Step(task, "", module, [], module, optimizer, divergence, norms, scaler, part, 0, "fp32", clip)
    (done,) = read([step(1, leave=lambda: False)])
    return done, task.module, norms


@pytest.mark.parametrize("micro_batch", [1, 2, 6])
def test_the_sum_over_all_micro_batches_is_divided_once_by_what_they_counted(micro_batch):
    done, module, norms = stepped(micro_batch)
    task = CountingBoxes(6)
    whole = task.loss(task.module, (IMAGES, BOXES))
    mean = whole.sum / BOXES.sum()
    mean.backward()
    assert (done.count, done.leaving) == (11, False)
    assert done.losses == [pytest.approx(mean.item())]
    assert done.parts == {"auxiliary": [pytest.approx(whole.parts["auxiliary"].item() / 11)]}
    gradients = [parameter.grad for parameter in task.module.parameters()]
    before = [parameter.detach().clone() for parameter in task.module.parameters()]
    for parameter, old, gradient in zip(module.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(parameter.detach(), old - 0.1 * gradient)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    size = torch.cat([old.flatten() for old in before]).norm().item()
    assert norms.take()["gradient_norm_mean"] == (pytest.approx(norm),)
    assert norms.take()["gradient_norm_mean"] == (None,)
    assert stepped(micro_batch)[2].take()["update_ratio_max"] == (pytest.approx(0.1 * norm / size),)


def test_the_norm_of_the_gradient_is_that_before_clipping():
    assert stepped(6, clip=1e-3)[2].take()["gradient_norm_max"] == stepped(6)[2].take()["gradient_norm_max"]


def test_stacked_runs_have_norms_of_their_own_and_what_is_not_finite_is_left_out():
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(3, 2, 2))
    module.weight.grad = torch.tensor([1.0, 2.0, float("inf")]).reshape(3, 1, 1).expand(3, 2, 2).clone()
    norms, scaler = Norms(module, 3, torch.device("cpu")), torch.amp.GradScaler("cpu", init_scale=0.5)
    for update in (1, 2, 11):
        with norms.of_step(update, scaler):
            module.weight.data *= 0.5
            module.weight.grad *= 2
    restored = Norms(module, 3, torch.device("cpu"))
    restored.load(json.loads(json.dumps(norms.state())))
    found = restored.take()
    assert found["gradient_norm_mean"] == (10.0, 20.0, None)  # 4 and 16, of updates 1 and 11
    assert found["gradient_norm_max"] == (16.0, 32.0, None)
    assert found["update_ratio_max"] == (0.5, 0.5, 0.5)
