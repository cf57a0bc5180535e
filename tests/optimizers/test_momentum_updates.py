"""SGD, M-SVAG, Fromage, LARS, Lion and Muon make their papers' updates, for 50 steps, with weight decay and without."""

import numpy as np
import pytest
import reference_adam
import reference_momentum as reference
import torch
from update_check import DECAYS, MATRIX, VECTOR, OneWeight, assert_makes_the_update, gradient_stream, start, trajectory

from experiments import optimizers

MOMENTA = pytest.mark.parametrize(
    "momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)], ids=["plain", "heavy ball", "nesterov"]
)
MUON = {"lr": 0.02, "momentum": 0.9, "nesterov": True, "ns_steps": 5, "adjust_lr": "original"}
MUONS = pytest.mark.parametrize(
    "changed",
    [{}, {"adjust_lr": "match_rms_adamw"}, {"nesterov": False, "momentum": 0.5}, {"ns_steps": 3, "lr": 0.1}],
    ids=["original", "as Liu et al.", "heavy ball", "three iterations"],
)
SHAPES = pytest.mark.parametrize("shape", [(4, 3), (3, 8), (6, 6)], ids=["tall", "wide", "square"])


@DECAYS
@MOMENTA
@pytest.mark.parametrize("lr", [0.01, 0.3])
def test_sgd(lr, momentum, nesterov, weight_decay):
    settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    assert_makes_the_update({"name": "sgd", **settings}, reference.sgd(start(), gradient_stream(), **settings))


@DECAYS
@MOMENTA
@pytest.mark.parametrize("always_adapt", [True, False], ids=["every layer", "decayed layers"])
@pytest.mark.parametrize("lr, trust_coeff, eps", [(1.0, 1e-3, 1e-8), (3.0, 0.02, 1e-2)])
def test_lars(lr, trust_coeff, eps, always_adapt, momentum, nesterov, weight_decay):
    settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    settings |= {"trust_coeff": trust_coeff, "eps": eps, "always_adapt": always_adapt}
    assert_makes_the_update({"name": "lars", **settings}, reference.lars(start(), gradient_stream(), **settings))


def test_lars_takes_whole_steps_where_the_weights_are_zero():
    module = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(module.bias)
    optimizer = optimizers.build({"name": "lars", "lr": 0.5, "momentum": 0.0}, module)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert torch.equal(module.bias, torch.full((2,), -0.5))


@DECAYS
@pytest.mark.parametrize("lr, beta", [(0.1, 0.9), (0.3, 0.5)])
def test_msvag(lr, beta, weight_decay):
    settings = {"lr": lr, "beta": beta, "weight_decay": weight_decay}
    # s is a small difference of large numbers: where the gradient hardly varies it loses some digits.
    expected = reference.msvag(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "msvag", **settings}, expected, tolerance=1e-10)


@DECAYS
@pytest.mark.parametrize("lr, beta, second_beta", [(0.1, 0.9, 0.999), (0.3, 0.5, 0.9)])
def test_msvag_as_adabelief_ran_it(lr, beta, second_beta, weight_decay):
    settings = {"lr": lr, "beta": beta, "second_beta": second_beta, "weight_decay": weight_decay}
    expected = reference.msvag(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "msvag_adabelief", **settings}, expected)


def test_msvag_as_adabelief_ran_it_begins_slower_than_the_papers():
    grads = [grad + 1 for grad in gradient_stream()]
    settings = {"lr": 0.1, "beta": 0.9, "weight_decay": 0.0}
    paper, theirs = (
        np.abs(np.diff([start(), *reference.msvag(start(), grads, **settings, second_beta=second)], axis=0)).sum((1, 2))
        for second in (None, 0.999)
    )
    assert theirs[0] == 0 and (theirs[:10] < paper[:10] / 5).all()


def test_msvag_steps_alike_where_pytorch_optimizer_makes_the_same_update():
    pytorch_optimizer = pytest.importorskip("pytorch_optimizer")
    module = OneWeight()
    optimizer = pytorch_optimizer.MSVAG(module.parameters(), lr=0.1, beta=0.9)
    theirs = []
    for grad in gradient_stream():
        module.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        theirs.append(module.weight.detach().numpy().copy())
    assert_makes_the_update({"name": "msvag", "lr": 0.1, "beta": 0.9, "weight_decay": 0.0}, theirs, tolerance=1e-6)


@DECAYS
@pytest.mark.parametrize("lr", [0.01, 0.3])
def test_fromage(lr, weight_decay):
    settings = {"lr": lr, "weight_decay": weight_decay}
    assert_makes_the_update({"name": "fromage", **settings}, reference.fromage(start(), gradient_stream(), **settings))


@pytest.mark.parametrize(
    ("weight", "grad", "ends"), [(0.0, 2.0, -0.2), (3.0, 0.0, 3.0)], ids=["no weight", "no gradient"]
)
def test_fromage_takes_a_plain_step_where_a_norm_is_zero(weight, grad, ends):
    module = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(module.weight, weight)
    module.weight.grad = torch.full_like(module.weight, grad)
    optimizers.build({"name": "fromage", "lr": 0.1}, module).step()
    assert module.weight.item() == pytest.approx(ends / np.sqrt(1.01), rel=1e-12)


@DECAYS
@pytest.mark.parametrize("lr, betas", [(1e-4, (0.9, 0.99)), (0.03, (0.5, 0.8))])
def test_lion(lr, betas, weight_decay):
    settings = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
    assert_makes_the_update({"name": "lion", **settings}, reference.lion(start(), gradient_stream(), **settings))


@DECAYS
@SHAPES
@MUONS
def test_muon_in_double_precision_is_the_papers(changed, shape, weight_decay, monkeypatch):
    monkeypatch.setattr(torch, "bfloat16", torch.float64)  # the precision of torch's Newton-Schulz iteration
    settings = {**MUON, **changed, "weight_decay": weight_decay}
    expected = reference.muon(start(shape), gradient_stream(shape), **settings)
    assert_makes_the_update({"name": "muon", **settings}, expected, tolerance=1e-10, shape=shape)


@DECAYS
@MUONS
@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (48, 48)], ids=["tall", "wide", "square"])
def test_muon_as_it_runs_is_a_percent_or_two_from_that(changed, shape, weight_decay):
    settings = {**MUON, **changed, "weight_decay": weight_decay}
    ours = np.stack([start(shape), *trajectory({"name": "muon", **settings}, shape)])
    theirs = np.stack([start(shape), *reference.muon(start(shape), gradient_stream(shape), **settings)])
    moves = np.diff(theirs, axis=0)
    errors = np.linalg.norm(np.diff(ours, axis=0) - moves, axis=(1, 2)) / np.linalg.norm(moves, axis=(1, 2))
    assert errors.max() < 0.03


@DECAYS
@pytest.mark.parametrize("shape", [VECTOR, (2, 3, 3, 3)], ids=["vector", "convolution"])
@pytest.mark.parametrize("ratio", [1.0, 0.25])
def test_what_is_no_matrix_gets_adamw_at_its_share_of_the_rate(ratio, shape, weight_decay):
    adamw = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": weight_decay}
    expected = reference_adam.adam(start(shape), gradient_stream(shape), lr=0.02 * ratio, **adamw, decoupled=True)
    assert_makes_the_update({"name": "muon", **MUON, **adamw, "adamw_lr_ratio": ratio}, expected, shape=shape)


# SAM needs a closure, and Fromage shrinks all weights at every step.
@pytest.mark.parametrize("name", [name for name in optimizers.names() if name not in ("sam", "fromage")])
def test_zero_gradients_and_zero_rate_leave_finite_weights_alone(name):
    module = OneWeight(MATRIX)
    settings = {"initial_accumulator": 0.0} if name == "yogi" else {}  # its first moment starts there
    optimizer = optimizers.build({"name": name, "weight_decay": 0.0, "lr": 0.1, **settings}, module)
    before = module.weight.detach().clone()
    for rate in (0.1, 0.0):
        optimizer.param_groups[0]["lr"] = rate
        module.weight.grad = torch.zeros_like(module.weight) if rate else torch.ones_like(module.weight)
        optimizer.step()
        assert torch.equal(module.weight, before)
