"""Every optimizer of the registry makes its own paper's update, for 50 steps, with weight decay and without."""

import numpy as np
import pytest
import torch
import update_reference as reference

from experiments import optimizers

STEPS = 50
ADAM = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-8}
DECAYS = pytest.mark.parametrize("weight_decay", [0.0, 0.1], ids=["no decay", "decay"])


class OneWeight(torch.nn.Module):
    def __init__(self):
        super().__init__()
        start = np.random.default_rng(0).standard_normal((4, 3))
        self.weight = torch.nn.Parameter(torch.from_numpy(start))


def gradient_stream():
    """Noisy gradients whose scale falls, so that maxima, bounds and clipping come into play."""
    generator = np.random.default_rng(1)
    return [generator.standard_normal((4, 3)) * 3.0 / (1 + 0.2 * t) + 0.3 for t in range(STEPS)]


def assert_makes_the_update(optim, expected, tolerance=1e-12):
    module = OneWeight()
    optimizer = optimizers.build(optim, module)
    for step, (grad, theta) in enumerate(zip(gradient_stream(), expected, strict=True), 1):
        module.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        np.testing.assert_allclose(
            module.weight.detach().numpy(), theta, rtol=tolerance, atol=tolerance, err_msg=f"step {step}"
        )


def start():
    return OneWeight().weight.detach().numpy().copy()


@DECAYS
@pytest.mark.parametrize(
    "momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)], ids=["plain", "heavy ball", "nesterov"]
)
def test_sgd(momentum, nesterov, weight_decay):
    settings = {"lr": 0.01, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    expected = reference.sgd(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "sgd", **settings}, expected)


@DECAYS
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw(name, weight_decay):
    settings = {**ADAM, "weight_decay": weight_decay}
    expected = reference.adam(start(), gradient_stream(), **settings, decoupled=name == "adamw")
    assert_makes_the_update({"name": name, **settings}, expected)


@DECAYS
@pytest.mark.parametrize(
    "max_grad_norm, always_adapt", [(0.0, True), (1.0, False)], ids=["the paper's", "NVLAMB, as released"]
)
def test_lamb(max_grad_norm, always_adapt, weight_decay):
    settings = {**ADAM, "weight_decay": weight_decay, "max_grad_norm": max_grad_norm, "always_adapt": always_adapt}
    expected = reference.lamb(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "lamb", **settings}, expected)


@DECAYS
def test_nadam(weight_decay):
    settings = {**ADAM, "weight_decay": weight_decay, "momentum_decay": 4e-3}
    expected = reference.nadam(start(), gradient_stream(), **settings)
    # torch keeps the product of the mu_t in fp32.
    assert_makes_the_update({"name": "nadam", **settings}, expected, tolerance=1e-6)


@DECAYS
def test_nadam_is_timm_06s_nadam(weight_decay):
    legacy = pytest.importorskip("timm.optim.nadam").NAdamLegacy
    settings = {**ADAM, "weight_decay": weight_decay}
    module = OneWeight()
    theirs = legacy(module.parameters(), **settings)
    trajectory = []
    for grad in gradient_stream():
        module.weight.grad = torch.from_numpy(grad.copy())
        theirs.step()
        trajectory.append(module.weight.detach().numpy().copy())
    assert_makes_the_update({"name": "nadam", **settings}, trajectory, tolerance=1e-6)


@DECAYS
@pytest.mark.parametrize("gamma", [1e-3, 1.0], ids=["wide bounds", "tight bounds"])
def test_adabound(gamma, weight_decay):
    settings = {**ADAM, "weight_decay": weight_decay, "final_lr": 0.1, "gamma": gamma}
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
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_radam_as_its_authors_code(betas, weight_decay):
    settings = {**ADAM, "betas": betas, "weight_decay": weight_decay}
    expected = reference.radam(start(), gradient_stream(), **settings, threshold=5)
    assert_makes_the_update({"name": "radam", **settings}, expected)


def test_radams_thresholds_of_code_and_paper_part_at_the_fifth_step_only():
    settings = {**ADAM, "betas": (0.9, 0.999), "weight_decay": 0.0}
    code, paper = (list(reference.radam(start(), gradient_stream(), **settings, threshold=at)) for at in (5, 4))
    moves = [np.diff(np.stack([start(), *path]), axis=0) for path in (code, paper)]
    differing = [t for t, (a, b) in enumerate(zip(*moves, strict=True), 1) if not np.allclose(a, b, rtol=1e-9)]
    assert differing == [5]


@DECAYS
@pytest.mark.parametrize("bias_correction", [False, True], ids=["the paper's", "the code's"])
@pytest.mark.parametrize("partial", [0.125, 0.5])
def test_padam(partial, bias_correction, weight_decay):
    settings = {**ADAM, "weight_decay": weight_decay, "partial": partial, "bias_correction": bias_correction}
    expected = reference.padam(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "padam", **settings}, expected)


@DECAYS
@pytest.mark.parametrize("eps", [1e-16, 1e-8, 1e-3])
def test_adabelief(eps, weight_decay):
    settings = {**ADAM, "eps": eps, "weight_decay": weight_decay}
    expected = reference.adabelief(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "adabelief", **settings}, expected, tolerance=1e-11)


@pytest.mark.parametrize("name", [name for name in optimizers.names() if name != "sam"])
def test_zero_gradients_and_zero_rate_leave_finite_weights_alone(name):
    module = OneWeight()
    optimizer = optimizers.build({"name": name, "weight_decay": 0.0, "lr": 0.1}, module)
    before = module.weight.detach().clone()
    for rate in (0.1, 0.0):
        optimizer.param_groups[0]["lr"] = rate
        module.weight.grad = torch.zeros_like(module.weight) if rate else torch.ones_like(module.weight)
        optimizer.step()
        assert torch.equal(module.weight, before)
