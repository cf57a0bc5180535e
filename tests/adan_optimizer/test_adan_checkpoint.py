"""State dictionaries: bitwise round trips, copies, and states written by the authors' and timm's classes."""

import copy
import io
import pickle

import pytest
import torch

from adan import Adan
from experiments.conformance.golden import GRADIENTS, TRAJECTORIES

END_WITH_PROX = TRAJECTORIES["prox"][1][-1]


def model_and_optimizer(dtype=torch.float32, **hyper):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 2)).to(dtype)
    hyper = {"lr": 0.05, "weight_decay": 0.1, "max_grad_norm": 0.5, **hyper}
    return model, Adan([{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.01}], **hyper)


def train(model, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for param in model.parameters():
            param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        optimizer.step()


def weights(model):
    return [param.detach().clone() for param in model.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_round_trip_through_a_file_into_a_fresh_optimizer_is_bitwise(dtype):
    model, optimizer = model_and_optimizer(dtype)
    train(model, optimizer, 3, seed=1)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, fresh = model_and_optimizer(dtype, lr=1.0, weight_decay=0.0, max_grad_norm=0.0)
    other.load_state_dict(saved["model"])
    fresh.load_state_dict(saved["optimizer"])
    train(model, optimizer, 3, seed=2)
    train(other, fresh, 3, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))


def test_loading_copies_so_that_the_source_can_go_on():
    model, optimizer = model_and_optimizer()
    train(model, optimizer, 2, seed=1)
    other, fresh = model_and_optimizer()
    other.load_state_dict(model.state_dict())
    fresh.load_state_dict(optimizer.state_dict())
    train(other, fresh, 3, seed=2)
    train(model, optimizer, 3, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_deepcopy_and_pickle_go_on_bitwise(duplicate):
    model, optimizer = model_and_optimizer()
    train(model, optimizer, 2, seed=1)
    other, twin = duplicate((model, optimizer))
    train(model, optimizer, 3, seed=2)
    train(other, twin, 3, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(other), strict=True))


def test_checkpoints_from_before_an_option_get_its_default():
    model, optimizer = model_and_optimizer()
    train(model, optimizer, 1, seed=1)
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for key in ("max_grad_norm", "no_prox", "foreach", "fused"):
            del group[key]
    optimizer.load_state_dict(saved)
    train(model, optimizer, 1, seed=2)
    assert [group["max_grad_norm"] for group in optimizer.param_groups] == [0.0, 0.0]


def test_the_users_hooks_see_the_load():
    model, optimizer = model_and_optimizer()
    train(model, optimizer, 1, seed=1)
    saved = optimizer.state_dict()
    _, fresh = model_and_optimizer()

    def double_the_momentum(_, state_dict):
        state_dict = copy.deepcopy(state_dict)
        for state in state_dict["state"].values():
            state["exp_avg"] *= 2
        return state_dict

    fresh.register_load_state_dict_pre_hook(double_the_momentum)
    fresh.load_state_dict(saved)
    first = fresh.param_groups[0]["params"][0]
    torch.testing.assert_close(fresh.state[first]["exp_avg"], 2 * saved["state"][0]["exp_avg"])


def foreign_state(previous_name, step):
    """The state after the first three golden gradients, as the authors' class (or timm's) saves it."""
    param = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = Adan([param], lr=0.1, weight_decay=0.02)
    for gradient in GRADIENTS[:3]:
        param.grad = torch.full_like(param, gradient)
        optimizer.step()
    state = dict(optimizer.state_dict()["state"][0])
    previous = state.pop("pre_grad")
    count = state.pop("step")
    state[previous_name] = -previous if previous_name == "neg_pre_grad" else previous
    group = {"lr": 0.1, "betas": (0.98, 0.92, 0.99), "eps": 1e-8, "weight_decay": 0.02, "max_grad_norm": 0.0}
    group |= {"no_prox": False, "foreach": True, "fused": True, "step": step(count), "params": [0]}
    return {"state": {0: state}, "param_groups": [group]}, param.detach()


@pytest.mark.parametrize("step", [int, torch.Tensor.clone], ids=["int", "tensor"])
@pytest.mark.parametrize("previous_name", ["neg_pre_grad", "pre_grad"])
def test_a_state_of_the_authors_class_continues_its_trajectory(previous_name, step):
    saved, theta = foreign_state(previous_name, step)
    param = torch.nn.Parameter(theta.clone())
    optimizer = Adan([param])
    optimizer.load_state_dict(saved)
    for gradient in GRADIENTS[3:]:
        param.grad = torch.full_like(param, gradient)
        optimizer.step()
    assert param.item() == pytest.approx(END_WITH_PROX, abs=6e-11)
    assert "neg_pre_grad" not in optimizer.state[param] and "step" not in optimizer.param_groups[0]


def test_a_state_saved_by_timms_adan_continues_its_trajectory():
    timm_adan = pytest.importorskip("timm.optim.adan").Adan
    source, target = (torch.nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64)) for _ in range(2))
    theirs = timm_adan([source], lr=0.1, weight_decay=0.02)
    ours = Adan([target], lr=1.0)
    generator = torch.Generator().manual_seed(0)
    for index in range(6):
        gradient = torch.randn(6, generator=generator, dtype=torch.float64)
        source.grad = gradient.clone()
        theirs.step()
        if index == 2:
            target.data.copy_(source.data)
            ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
        elif index > 2:
            target.grad = gradient
            ours.step()
            torch.testing.assert_close(target, source, rtol=1e-12, atol=1e-12)
