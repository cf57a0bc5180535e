"""Fifty steps of a registered optimizer beside a float64 reference."""

import numpy as np
import pytest
import torch

from experiments import optimizers

STEPS = 50
MATRIX, VECTOR = (4, 3), (7,)
ADAM = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-8}
# The usual betas at a small rate, short memories with an eps that matters, and short memories at a large rate.
ADAMS = pytest.mark.parametrize(
    "adam",
    [
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8},
        {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-2},
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-8},
    ],
    ids=["usual", "large eps", "large rate"],
)
DECAYS = pytest.mark.parametrize("weight_decay", [0.0, 0.1], ids=["no decay", "decay"])


class OneWeight(torch.nn.Module):
    """A single float64 parameter named `weight`."""

    def __init__(self, shape=MATRIX):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(start(shape)))


def start(shape=MATRIX):
    return np.random.default_rng(0).standard_normal(shape)


def gradient_stream(shape=MATRIX):
    """Noisy gradients whose scale falls, so that maxima, bounds and clipping come into play."""
    generator = np.random.default_rng(1)
    return [generator.standard_normal(shape) * 3.0 / (1 + 0.2 * t) + 0.3 for t in range(STEPS)]


def trajectory(optim, shape=MATRIX):
    """The parameter after each step of the optimizer that `optim` describes; biases and norms decay, too."""
    module = OneWeight(shape)
    optimizer = optimizers.build({"decay_bias_and_norm": True, **optim}, module)
    path = []
    for grad in gradient_stream(shape):
        module.weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        path.append(module.weight.detach().numpy().copy())
    return path


def assert_makes_the_update(optim, expected, tolerance=1e-12, shape=MATRIX):
    """Every one of the 50 steps ends where `expected` does, relatively and absolutely within `tolerance`."""
    for step, (ours, theirs) in enumerate(zip(trajectory(optim, shape), expected, strict=True), 1):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=f"step {step}")
