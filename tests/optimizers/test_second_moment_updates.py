"""AdaGrad, AdaDelta, RMSProp and Adafactor make their papers' updates, for 50 steps, with weight decay and without."""

import numpy as np
import pytest
import reference_second_moment as reference
import torch
from update_check import DECAYS, MATRIX, VECTOR, OneWeight, assert_makes_the_update, gradient_stream, start

from experiments import optimizers


@DECAYS
@pytest.mark.parametrize("lr, eps, initial_accumulator_value", [(0.01, 1e-10, 0.0), (0.3, 0.1, 0.5)])
def test_adagrad(lr, eps, initial_accumulator_value, weight_decay):
    settings = {
        "lr": lr,
        "eps": eps,
        "weight_decay": weight_decay,
        "initial_accumulator_value": initial_accumulator_value,
    }
    assert_makes_the_update({"name": "adagrad", **settings}, reference.adagrad(start(), gradient_stream(), **settings))


@DECAYS
@pytest.mark.parametrize("lr, rho, eps", [(1.0, 0.95, 1e-6), (0.5, 0.8, 1e-2)])
def test_adadelta(lr, rho, eps, weight_decay):
    settings = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
    expected = reference.adadelta(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "adadelta", **settings}, expected)


@DECAYS
@pytest.mark.parametrize("lr, alpha, eps", [(1e-3, 0.9, 1e-8), (0.02, 0.99, 1e-2)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("centered", [False, True], ids=["mean square", "centered"])
def test_rmsprop(centered, momentum, lr, alpha, eps, weight_decay):
    settings = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
    expected = reference.rmsprop(start(), gradient_stream(), **settings, weight_decay=weight_decay)
    assert_makes_the_update({"name": "rmsprop", **settings, "weight_decay": weight_decay}, expected, tolerance=1e-9)


@DECAYS
@pytest.mark.parametrize("shape", [MATRIX, VECTOR], ids=["matrix", "vector"])
@pytest.mark.parametrize(
    "changed",
    [{}, {"lr": 1.0, "clip_threshold": 1.5}, {"lr": 0.3, "beta2_decay": -0.5, "eps2": 10.0}],
    ids=["the paper's", "rate from 1/sqrt(t)", "small weights"],
)
def test_adafactor(changed, shape, weight_decay):
    settings = {"lr": 0.01, "beta2_decay": -0.8, "eps2": 1e-3, "clip_threshold": 1.0, **changed}
    settings["weight_decay"] = weight_decay
    expected = reference.adafactor(start(shape), gradient_stream(shape), **settings)
    assert_makes_the_update({"name": "adafactor", **settings}, expected, shape=shape)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-8])
def test_adafactor_in_fp32_is_the_papers_for_small_gradients_too_where_torchs_default_eps_is_not(size):
    grads = [grad * size for grad in gradient_stream()]
    settings = {"lr": 0.01, "beta2_decay": -0.8, "eps2": 1e-3, "clip_threshold": 10.0, "weight_decay": 0.0}
    *_, expected = reference.adafactor(start(), grads, **settings)

    def distance(**changed):
        module = OneWeight().float()
        optimizer = optimizers.build({"name": "adafactor", **settings, **changed}, module)
        for grad in grads:
            module.weight.grad = torch.from_numpy(grad).float()
            optimizer.step()
        return np.linalg.norm(module.weight.detach().numpy() - expected) / np.linalg.norm(expected - start())

    assert distance() < 1e-5
    assert distance(eps1=float(torch.finfo(torch.float32).eps)) > (0.1 if size < 1e-4 else 0)
