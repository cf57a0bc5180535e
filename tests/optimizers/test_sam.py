"""SAM: two passes, weights restored exactly, any base."""

import copy
import pickle
from functools import partial
from itertools import islice

import numpy as np
import pytest
import reference_adam
import reference_momentum
import reference_second_moment
import torch

from experiments import optimizers
from experiments.optimizers.sam import SAM, without_batch_statistics
from experiments.schema.errors import UserError


class Quadratic(torch.nn.Module):
    """Loss 1/2 sum(curvature * (weight - 1)^2), split over two parameters."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
        self.second = torch.nn.Parameter(torch.tensor([[0.5]], dtype=torch.float64))
        self.curvature = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)

    def flat(self):
        return torch.cat([self.first, self.second.flatten()])

    def loss(self):
        return 0.5 * (self.curvature * (self.flat() - 1).square()).sum()


def take_steps(module, optimizer, steps):
    def closure():
        loss = module.loss()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.zero_grad()
        closure()
        optimizer.step(closure)


BASES = {
    "heavy ball": ("sgd", {"momentum": 0.9, "nesterov": False}, reference_momentum.sgd),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, reference_momentum.sgd),
    "adam": ("adam", {"betas": (0.8, 0.95), "eps": 1e-8}, reference_adam.adam),
    "adamw": ("adamw", {"betas": (0.8, 0.95), "eps": 1e-8}, partial(reference_adam.adam, decoupled=True)),
    "adadelta, which has a rho of its own": ("adadelta", {"rho": 0.9, "eps": 1e-3}, reference_second_moment.adadelta),
}


@pytest.mark.parametrize("adaptive", [False, True], ids=["sam", "asam"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1], ids=["no decay", "decay"])
@pytest.mark.parametrize("base", BASES)
def test_fifty_steps_equal_a_float64_reference(base, weight_decay, adaptive):
    name, settings, reference = BASES[base]
    module = Quadratic()
    optim = {"name": "sam", "lr": 0.02, "rho": 0.3, "adaptive": adaptive, "weight_decay": weight_decay}
    optimizer = optimizers.build(
        {**optim, "base": name, "base_settings": settings, "decay_bias_and_norm": True}, module
    )
    curvature, path = module.curvature.numpy(), [module.flat().detach().numpy()]
    grads = reference_momentum.at_perturbed(lambda theta: curvature * (theta - 1), path, 0.3, adaptive)
    for theta in islice(reference(path[0], grads, lr=0.02, weight_decay=weight_decay, **settings), 50):
        path.append(theta)
        take_steps(module, optimizer, 1)
        np.testing.assert_allclose(module.flat().detach().numpy(), theta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("base", [name for name in optimizers.names() if name != "sam"])
def test_rho_zero_is_the_base_bit_by_bit(base):
    module, twin = Quadratic(), Quadratic()
    sam = optimizers.build({"name": "sam", "base": base, "rho": 0.0, "lr": 0.05, "weight_decay": 0.1}, module)
    alone = optimizers.build({"name": base, "lr": 0.05, "weight_decay": 0.1}, twin)
    for _ in range(3):
        take_steps(module, sam, 1)
        twin.zero_grad()
        twin.loss().backward()
        alone.step()
    assert torch.equal(module.flat(), twin.flat())


def test_weights_are_restored_exactly_before_the_base_steps_and_when_the_closure_fails():
    module = Quadratic()
    optimizer = optimizers.build({"name": "sam", "lr": 0.0, "rho": 0.7}, module)
    before, seen = module.flat().detach().clone(), []

    def closure():
        seen.append(module.flat().detach().clone())
        assert all(p.grad is None for p in module.parameters())
        module.loss().backward()

    module.loss().backward()
    optimizer.step(closure)
    torch.testing.assert_close((seen[0] - before).norm(), torch.tensor(0.7, dtype=torch.float64))
    assert torch.equal(module.flat(), before)

    def failing():
        raise FloatingPointError("loss is not finite")

    module.loss().backward()
    with pytest.raises(FloatingPointError):
        optimizer.step(failing)
    assert torch.equal(module.flat(), before)


def test_a_step_without_closure_is_refused():
    module = Quadratic()
    optimizer = optimizers.build({"name": "sam"}, module)
    with pytest.raises(TypeError, match="closure"):
        optimizer.step()


def test_perturb_and_restore_around_scaled_gradients_are_a_step_with_closure():
    module, twin = Quadratic(), Quadratic()
    settings = {"name": "sam", "lr": 0.05, "rho": 0.3, "weight_decay": 0.1}
    optimizer, whole = optimizers.build(settings, module), optimizers.build(settings, twin)
    for _ in range(5):
        optimizer.zero_grad()
        (1024.0 * module.loss()).backward()
        optimizer.perturb()
        optimizer.zero_grad()
        module.loss().backward()
        optimizer.restore()
        optimizer.step()
        take_steps(twin, whole, 1)
    torch.testing.assert_close(module.flat(), twin.flat(), rtol=1e-12, atol=1e-12)


def test_the_second_pass_leaves_batch_statistics_alone():
    module = torch.nn.BatchNorm1d(3)
    module(torch.randn(8, 3))
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with without_batch_statistics(module):
        normalised = module(torch.randn(8, 3) + 5)
    assert normalised.mean().abs() < 1e-5
    assert all(torch.equal(before[name], buffer) for name, buffer in module.named_buffers())
    module(torch.randn(8, 3))
    assert not torch.equal(before["running_mean"], module.running_mean)


def test_the_rate_of_the_groups_is_the_bases():
    module = Quadratic()
    optimizer = optimizers.build({"name": "sam", "lr": 0.05}, module)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = module.flat().detach().clone()
    take_steps(module, optimizer, 1)
    assert torch.equal(module.flat(), before)


def test_state_round_trip_and_copies_go_on_bitwise():
    module = Quadratic()
    optim = {"name": "sam", "base": "adan", "lr": 0.05, "base_settings": {"betas": [0.9, 0.9, 0.99]}}
    optimizer = optimizers.build(optim, module)
    take_steps(module, optimizer, 3)
    copies = [copy.deepcopy((module, optimizer)), pickle.loads(pickle.dumps((module, optimizer)))]
    fresh_module = Quadratic()
    fresh_module.load_state_dict(module.state_dict())
    fresh = optimizers.build({**optim, "lr": 1.0, "rho": 0.5}, fresh_module)
    fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    take_steps(module, optimizer, 3)
    for other, twin in [*copies, (fresh_module, fresh)]:
        take_steps(other, twin, 3)
        assert torch.equal(other.flat(), module.flat())
        assert twin.param_groups is twin.base.param_groups


def test_bad_bases_are_user_errors():
    for optim, message in (
        ({"base": "sam"}, "another optimizer"),
        ({"base": "adamv"}, "did you mean 'adam"),
        ({"base_settings": {"momentun": 0.9}}, r"optim\.base_settings\.momentun.*'momentum'"),
        ({"rho": -0.1}, "rho must be"),
    ):
        with pytest.raises(UserError, match=message):
            optimizers.build({"name": "sam", **optim}, Quadratic())


def test_parameters_added_later_are_perturbed_too():
    module = Quadratic()
    optimizer = SAM(torch.optim.SGD([module.first], lr=0.1), rho=0.2)
    optimizer.add_param_group({"params": [module.second]})
    assert [group["sam_rho"] for group in optimizer.param_groups] == [0.2, 0.2]
    before = module.second.item()
    take_steps(module, optimizer, 1)
    assert module.second.item() != before
