"""Momentum alone: no second moment of each gradient."""

from __future__ import annotations

import math

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo, Settings, Shape, defaults_of
from experiments.optimizers.hidden_matrices import is_hidden_matrix
from experiments.optimizers.registry import info


def _sam_states(settings: Settings) -> float:
    """The base's states, and the weights kept while the gradient is taken elsewhere."""
    return 1 + info(settings["base"]).states_with(settings["base_settings"])


def _sam_floats(settings: Settings, shape: Shape, name: str) -> int:
    return math.prod(shape) + info(settings["base"]).floats(settings["base_settings"], shape, name)


def _muon_floats(settings: Settings, shape: Shape, name: str) -> int:
    """Muon's momentum for a hidden matrix, AdamW's two moments for the rest."""
    return math.prod(shape) * (1 if is_hidden_matrix(shape, name, settings["adamw_names"]) else 2)


ENTRIES = [
    OptimizerInfo(
        name="sgd",
        library="torch",
        states=1,
        elementwise=True,
        capturable=True,
        uncapturable=lambda settings: settings["asgd_after"] > 0,  # what a step does changes at the switch
        paper="Polyak 1964 (nesterov: false); Sutskever et al. 2013 (nesterov: true)",
        defaults=defaults_of("sgd"),
        build=libraries.sgd,
        differences=(
            "torch's defaults are momentum 0 and no Nesterov; here they are those of timm's name 'sgd', which the "
            "released code uses. The momentum buffer starts as the first gradient and is not scaled by 1 - momentum; "
            "weight decay is coupled. asgd_after switches to averaged SGD (NT-ASGD, arXiv 1708.02182, by the rule of "
            "its authors' code; sgd_then_asgd.py) when asgd_metric is worse than the best of all but the last "
            "asgd_after evaluations, 0 never; asgd_average evaluates the average."
        ),
        count_states=lambda settings: int(settings["momentum"] > 0) + int(settings["asgd_after"] > 0),
    ),
    OptimizerInfo(
        name="sam",
        library="experiments",
        states=2,
        paper="Foret et al., arXiv 2010.01412, eq. 2; adaptive: Kwon et al., arXiv 2102.11600",
        defaults=defaults_of("sam"),
        build=libraries.sam,
        differences=(
            "Ours (sam.py), around any registered base: the wrappers of libraries restore the weights by subtraction, "
            "this one exactly. Under data parallelism the perturbation follows the averaged gradient, where the paper "
            "lets each device perturb by its own. Weight decay is the base's, at the unperturbed weights."
        ),
        count_states=_sam_states,
        count_floats=_sam_floats,
    ),
    OptimizerInfo(
        name="msvag",
        library="experiments",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Balles and Hennig, arXiv 1705.07774, Algorithm 1",
        defaults=defaults_of("msvag"),
        build=libraries.msvag,
        differences=(
            "Ours (msvag.py): pytorch_optimizer's ignores weight decay without a word. The variance is bounded from "
            "below by 0, which it passes by rounding only, and a number whose gradients were all 0 does not move "
            "(there, the paper divides 0 by 0). Weight decay is coupled."
        ),
    ),
    OptimizerInfo(
        name="msvag_adabelief",
        library="experiments",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Balles and Hennig, arXiv 1705.07774, as juntang-zhuang/Adabelief-Optimizer@2855178 MSVAG.py has it",
        defaults=defaults_of("msvag_adabelief"),
        build=libraries.msvag,
        differences=(
            "What AdaBelief's comparisons ran under the name MSVAG, which is not the paper's: the second moment "
            "decays with beta (0.9) but is divided by 1 - second_beta^t (0.999), which makes it 100 times too large at "
            "the first step, ten times at the 100th, and shortens all steps of the first few thousand; the very first "
            "is 0. Its eps is not used. Weight decay is coupled. The paper's is msvag."
        ),
    ),
    OptimizerInfo(
        name="fromage",
        library="experiments",
        states=0,
        capturable=True,
        paper="Bernstein, Vahdat, Yue and Liu, arXiv 2002.03432, Algorithm 1",
        defaults=defaults_of("fromage"),
        build=libraries.fromage,
        differences=(
            "Ours (fromage.py), the authors' code (jxbz/fromage) but for weight decay, which is coupled and which they "
            "do not have; pytorch_optimizer's, the same update, ignores it without a word. Weights shrink by "
            "sqrt(1 + lr^2) at every step, also where the gradient is 0; a tensor that is 0 takes a plain step."
        ),
    ),
    OptimizerInfo(
        name="lars",
        library="timm",
        states=1,
        capturable=True,
        paper="You, Gitman and Ginsburg, arXiv 1708.03888, Algorithm 1",
        defaults=defaults_of("lars"),
        build=libraries.lars,
        differences=(
            "timm's defaults are momentum 0, where the paper has 0.9, and no local rate for parameters without weight "
            "decay; the paper has one for every layer, so always_adapt is true here: false leaves biases and norms to "
            "plain momentum, and everything where weight_decay is 0. The local rate is 1 where the weights or the "
            "gradient are zero (the paper's would hold zero weights at zero for ever), and eps stands in its "
            "denominator. The buffer does not hold the rate, the paper's does: the two part when a schedule moves it. "
            "No LARC clipping."
        ),
        count_states=lambda settings: int(settings["momentum"] > 0),
    ),
    OptimizerInfo(
        name="lion",
        library="timm",
        states=1,
        elementwise=True,
        capturable=True,
        paper="Chen et al., arXiv 2302.06675, Algorithm 2",
        defaults=defaults_of("lion"),
        build=libraries.lion,
        differences=(
            "None in the update: decoupled decay of lr * weight_decay * theta, as in the paper. Its authors advise a "
            "rate 3 to 10 times smaller and a weight decay 3 to 10 times larger than AdamW's. No cautious mask."
        ),
    ),
    OptimizerInfo(
        name="muon",
        library="torch",
        states=1,
        paper="Jordan et al. 2024, kellerjordan.github.io/posts/muon; rate and decay: Liu et al., arXiv 2502.16982",
        defaults=defaults_of("muon"),
        build=libraries.muon,
        differences=(
            "torch's Muon for hidden matrices and torch's AdamW for the rest, in one object (muon.py). The rest is "
            "vectors, embeddings and heads (told by adamw_names), as the authors advise, and kernels of convolutions, "
            "which they flatten and torch does not take: AdamW steps all of a ResNet. One rate: AdamW's is lr * "
            "adamw_lr_ratio. adjust_lr match_rms_adamw (Liu et al.) lets one rate suit both and take AdamW's values; "
            "torch's default is the authors' own scaling, original, at which they use lr 0.02. Newton-Schulz runs in "
            "bf16, as theirs, so a step differs by a percent or two from one in full precision. The buffer is an "
            "average (1 - momentum times the gradient), the post's a sum: the same after Newton-Schulz, but for its "
            "eps of 1e-7. Decay is decoupled; the post has none. States: 1 for hidden matrices, 2 for the rest."
        ),
        count_floats=_muon_floats,
    ),
]
