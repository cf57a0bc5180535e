"""A second moment and no first: the line from AdaGrad to Adafactor."""

from __future__ import annotations

import math

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo, Settings, Shape, defaults_of


def _adafactor_floats(settings: Settings, shape: Shape, name: str) -> int:
    """One float for each row and column of the last two dimensions; for a vector one for each number."""
    if len(shape) < 2:
        return math.prod(shape)
    *stack, rows, columns = shape
    return math.prod(stack) * (rows + columns)


ENTRIES = [
    OptimizerInfo(
        name="adagrad",
        library="torch",
        states=1,
        elementwise=True,
        paper="Duchi, Hazan and Singer, JMLR 2011, eq. 1 with the diagonal matrix",
        defaults=defaults_of("adagrad"),
        build=libraries.adagrad,
        differences=(
            "eps is the paper's delta, outside the root. torch's own decay of the rate is left to the schedule. "
            "Weight decay, which the paper does not have, is coupled."
        ),
    ),
    OptimizerInfo(
        name="adadelta",
        library="torch",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Zeiler, arXiv 1212.5701, Algorithm 1",
        defaults=defaults_of("adadelta"),
        build=libraries.adadelta,
        differences=(
            "rho is the paper's 0.95 (section 4.1), torch's default 0.9. The paper has no rate: lr, a factor on its "
            "step, is 1. eps stands inside both roots, as in the paper. Weight decay, which it does not have, is "
            "coupled."
        ),
    ),
    OptimizerInfo(
        name="rmsprop",
        library="torch",
        states=1,
        elementwise=True,
        capturable=True,
        paper="Tieleman and Hinton 2012, Coursera lecture 6e; centered: Graves, arXiv 1308.0850",
        defaults=defaults_of("rmsprop"),
        build=libraries.rmsprop,
        differences=(
            "alpha is the lecture's 0.9, torch's default 0.99; lr is that of Ruder's survey (arXiv 1609.04747), "
            "torch's default 0.01. eps, which the lecture does not have, stands outside the root (Graves and "
            "TensorFlow: inside), and the mean square starts at 0 (TensorFlow: 1). momentum sums the scaled "
            "gradients and is multiplied by lr; weight decay is coupled."
        ),
        count_states=lambda settings: 1 + int(settings["momentum"] > 0) + int(settings["centered"]),
    ),
    OptimizerInfo(
        name="adafactor",
        library="torch",
        states=2 / 1024,
        paper="Shazeer and Stern, arXiv 1804.04235, Algorithms 4 (matrices) and 5 (vectors)",
        defaults=defaults_of("adafactor"),
        build=libraries.adafactor,
        differences=(
            "The relative step of the paper, max(eps2, RMS(theta)) * min(lr, 1/sqrt(t)), with lr for its constant "
            "0.01, so that a schedule can lower it; no momentum. eps1: the paper adds 1e-30 to the squared gradient, "
            "torch bounds from below the root of the estimate and the mean over its rows by eps1. Its default, 1.2e-7 "
            "in fp32, changes the update where gradients are below 3e-4; with 1e-18 it is the paper's down to 1e-9. "
            "Tensors of more than two dimensions, of which the paper does not speak, are factored over their "
            "last two: that saves little for kernels of convolutions, and a 1x1 kernel costs 2 floats a parameter. "
            "Weight decay, which the paper does not have, is decoupled: lr * weight_decay * theta, without the "
            "relative step's other factors. States: rows plus columns for a matrix (counted for 1024 x 1024), one a "
            "parameter for a vector. Not timm's, which takes no relative step once lr is given."
        ),
        count_floats=_adafactor_floats,
    ),
]
