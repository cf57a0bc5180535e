"""Adam and its corrections make their papers' updates, for 50 steps, with weight decay and without."""

import numpy as np
import pytest
import reference_adam as reference
import torch
from update_check import ADAM, ADAMS, DECAYS, OneWeight, assert_makes_the_update, gradient_stream, start

from experiments import optimizers

SCHEDULE_OF_NADAM = 1e-6  # torch keeps the product of the mu_t in fp32


@DECAYS
@ADAMS
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw(name, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay}
    expected = reference.adam(start(), gradient_stream(), **settings, decoupled=name == "adamw")
    assert_makes_the_update({"name": name, **settings}, expected)


@DECAYS
@ADAMS
@pytest.mark.parametrize("bias_correction", [True, False], ids=["torch's", "the paper's"])
def test_amsgrad(bias_correction, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay, "bias_correction": bias_correction}
    expected = reference.amsgrad(start(), gradient_stream(), **settings)
    assert_makes_the_update({"name": "amsgrad", **settings}, expected)


@DECAYS
@ADAMS
def test_amsgradw(adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay}
    expected = reference.amsgrad(start(), gradient_stream(), **settings, bias_correction=True, decoupled=True)
    assert_makes_the_update({"name": "amsgradw", **settings}, expected)


@DECAYS
@ADAMS
@pytest.mark.parametrize("decoupled", [False, True], ids=["coupled", "decoupled"])
@pytest.mark.parametrize("momentum_decay", [4e-3, 0.1])
def test_nadam(momentum_decay, decoupled, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
    expected = reference.nadam(start(), gradient_stream(), **settings, decoupled=decoupled)
    optim = {"name": "nadam", **settings, "decoupled_weight_decay": decoupled}
    assert_makes_the_update(optim, expected, tolerance=SCHEDULE_OF_NADAM)


@DECAYS
def test_nadam_is_timm_06s_nadam(weight_decay):
    legacy = pytest.importorskip("timm.optim.nadam").NAdamLegacy
    settings = {**ADAM, "weight_decay": weight_decay}
    module = OneWeight()
    theirs = legacy(module.parameters(), **settings)
    expected = []
    for grad in gradient_stream():
        module.weight.grad = torch.from_numpy(grad.copy())
        theirs.step()
        expected.append(module.weight.detach().numpy().copy())
    assert_makes_the_update({"name": "nadam", **settings}, expected, tolerance=SCHEDULE_OF_NADAM)


@DECAYS
@ADAMS
def test_nadamw(adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay}
    assert_makes_the_update({"name": "nadamw", **settings}, reference.nadamw(start(), gradient_stream(), **settings))


@DECAYS
@ADAMS
@pytest.mark.parametrize("decoupled", [False, True], ids=["coupled", "decoupled"])
def test_radam_as_its_authors_code(decoupled, adam, weight_decay):
    settings = {**adam, "weight_decay": weight_decay}
    expected = reference.radam(start(), gradient_stream(), **settings, threshold=5, decoupled=decoupled)
    assert_makes_the_update({"name": "radam", **settings, "decoupled_weight_decay": decoupled}, expected)


def test_radams_thresholds_of_code_and_paper_part_at_the_fifth_step_only():
    settings = {**ADAM, "betas": (0.9, 0.999), "weight_decay": 0.0}
    code, paper = (list(reference.radam(start(), gradient_stream(), **settings, threshold=at)) for at in (5, 4))
    moves = [np.diff(np.stack([start(), *path]), axis=0) for path in (code, paper)]
    differing = [t for t, (a, b) in enumerate(zip(*moves, strict=True), 1) if not np.allclose(a, b, rtol=1e-9)]
    assert differing == [5]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_gradients_may_be_laid_out_otherwise_than_parameters(name):
    """As those of convolutions are, in channels_last. torch's fused form on a CPU reads memory in order."""
    weights = []
    for layout in (torch.contiguous_format, torch.channels_last):
        module = torch.nn.Conv2d(3, 4, 2)
        optimizer = optimizers.build({"name": name, "lr": 0.1}, module)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            module.weight.copy_(torch.randn(4, 3, 2, 2, generator=generator))
        for _ in range(3):
            grad = module.weight.grad = torch.randn(4, 3, 2, 2, generator=generator).to(memory_format=layout)
            optimizer.step()
            assert module.weight.grad is grad  # a captured update finds it there again
        weights.append(module.weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)
