"""Variants of Adam make their papers' updates, for 50 steps, with weight decay and without."""

import numpy as np
import pytest
import reference_adam_variants as reference
import torch
from update_check import ADAMS, DECAYS, OneWeight, assert_makes_the_update, gradient_stream, start

from experiments import optimizers


@DECAYS
@ADAMS
@pytest.mark.parametrize("amsbound", [False, True], ids=["adabound", "amsbound"])
@pytest.mark.parametrize("gamma, final_lr", [(1e-3, 0.1), (1.0, 0.01)], ids=["wide bounds", "tight bounds"])
def test_adabound(gamma, final_lr, amsbound, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay, "final_lr": final_lr, "gamma": gamma, "amsbound": amsbound}
    expected = reference.adabound(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "adabound", **settings}, expected)


def test_the_bounds_of_adabound_follow_the_schedule():
    module = OneWeight()
    optimizer = optimizers.build({"name": "adabound", "lr": 0.01, "final_lr": 0.1, "gamma": 1e6}, module)
    grad = np.ones((4, 3))
    for rate in (0.01, 0.005):  # with gamma this large the step is final_lr * rate / 0.01, times m
        optimizer.param_groups[0]["lr"] = rate
        before = module.weight.detach().clone()
        module.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        momentum = optimizer.state[module.weight]["exp_avg"]
        torch.testing.assert_close(before - module.weight.detach(), 0.1 * rate / 0.01 * momentum, rtol=1e-5, atol=0)


@DECAYS
@ADAMS
@pytest.mark.parametrize("beta3", [0.9, 0.999])
def test_adamod_as_its_authors_code(beta3, adam, weight_decay):
    settings = {**adam, "betas": (*adam["betas"], beta3), "weight_decay": weight_decay}
    assert_makes_the_update({"name": "adamod", **settings}, reference.adamod(start(), gradient_stream(), **settings))


def test_adamods_code_takes_longer_steps_than_its_paper_at_first():
    generator = np.random.default_rng(2)
    grads = [generator.standard_normal((4, 3)) + 0.3 for _ in range(3000)]
    settings = {"lr": 1e-3, "betas": (0.9, 0.999, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    code, paper = (
        np.linalg.norm(
            np.diff([start(), *reference.adamod(start(), grads, **settings, as_the_paper=which)], axis=0), axis=(1, 2)
        )
        for which in (False, True)
    )
    assert code[0] == pytest.approx(paper[0], rel=1e-4)  # but for the place of eps
    assert 2 < code[:50].sum() / paper[:50].sum() < 6
    assert 1.05 < code[500:600].sum() / paper[500:600].sum() < 1.2
    assert code[-500:].sum() == pytest.approx(paper[-500:].sum(), rel=0.02)


@DECAYS
@ADAMS
@pytest.mark.parametrize("bias_correction", [False, True], ids=["the paper's", "the code's"])
@pytest.mark.parametrize("partial", [0.125, 0.5])
def test_padam(partial, bias_correction, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay, "partial": partial, "bias_correction": bias_correction}
    expected = reference.padam(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "padam", **settings}, expected)


@DECAYS
@ADAMS
@pytest.mark.parametrize("eps", [1e-16, 1e-8, 1e-3])
@pytest.mark.parametrize("decoupled", [False, True], ids=["coupled", "decoupled"])
@pytest.mark.parametrize("rectify", [False, True], ids=["the paper's", "rectified"])
def test_adabelief(rectify, decoupled, eps, adam, weight_decay):
    settings = {**adam, "eps": eps, "weight_decay": weight_decay}
    expected = reference.adabelief(start(), gradient_stream(), **settings, decoupled=decoupled, rectify=rectify)
    optim = {"name": "adabelief", **settings, "decoupled_weight_decay": decoupled, "rectify": rectify}
    assert_makes_the_update(optim, expected, tolerance=1e-10)


@DECAYS
@ADAMS
@pytest.mark.parametrize("initial_accumulator", [0.0, 1e-6, 0.1])
def test_yogi(initial_accumulator, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay, "initial_accumulator": initial_accumulator}
    assert_makes_the_update({"name": "yogi", **settings}, reference.yogi(start(), gradient_stream(), **settings))


@DECAYS
@ADAMS
@pytest.mark.parametrize(
    "max_grad_norm, always_adapt", [(0.0, True), (1.0, False)], ids=["the paper's", "NVLAMB, as released"]
)
def test_lamb(max_grad_norm, always_adapt, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay, "max_grad_norm": max_grad_norm, "always_adapt": always_adapt}
    expected = reference.lamb(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "lamb", **settings}, expected)
