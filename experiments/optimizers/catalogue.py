"""The optimizers of the paper's tables: which implementation each name means, and how it differs from its paper.

The rule: the update that produced the published numbers, from a library that is kept up. Where a library's default
is something else, `differences` says what is used here and why. Versions behind the tables: the released runs used
timm 0.6.1's optimizer factory; baselines of Table 3 come from the AdaBelief authors' code and its relatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo


def _sam_states(settings: Mapping[str, Any]) -> int:
    """The base's states, and the weights kept while the gradient is taken elsewhere."""
    from experiments.optimizers.registry import info  # the registry is made from this catalogue

    return 1 + info(settings["base"]).states_with(settings["base_settings"])


_ENTRIES = [
    OptimizerInfo(
        name="adan",
        library="adan",
        states=4,
        paper="Xie et al., arXiv 2208.06677, Algorithm 1",
        defaults={
            "lr": 1e-3,
            "betas": (0.98, 0.92, 0.99),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "max_grad_norm": 0.0,
            "no_prox": False,
        },
        build=libraries.adan,
        differences=(
            "Ours, with the numbers of the authors' code: moments start at zero and are bias-corrected (Algorithm 1 "
            "starts them at the first gradient), eps outside the root. Steps are counted per parameter, max_grad_norm "
            "is read per group, gradients are not modified; see adan/optimizer.py."
        ),
    ),
    OptimizerInfo(
        name="adamw",
        library="torch",
        states=2,
        paper="Loshchilov and Hutter, arXiv 1711.05101",
        defaults={"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
        build=libraries.adamw,
        differences="Decay is lr * weight_decay * theta with the scheduled lr; the paper has its own factor.",
    ),
    OptimizerInfo(
        name="adam",
        library="torch",
        states=2,
        paper="Kingma and Ba, arXiv 1412.6980",
        defaults={"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
        build=libraries.adam,
        differences="Weight decay, which the paper does not have, is coupled: added to the gradient (L2).",
    ),
    OptimizerInfo(
        name="sgd",
        library="torch",
        states=1,
        paper="Polyak 1964 (nesterov: false); Sutskever et al. 2013 (nesterov: true)",
        defaults={"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
        build=libraries.sgd,
        differences=(
            "torch's defaults are momentum 0 and no Nesterov; here they are those of timm's name 'sgd', which the "
            "released code uses. The momentum buffer starts as the first gradient and is not scaled by 1 - momentum; "
            "weight decay is coupled."
        ),
        count_states=lambda settings: int(settings["momentum"] > 0),
    ),
    OptimizerInfo(
        name="sam",
        library="experiments",
        states=2,
        paper="Foret et al., arXiv 2010.01412, eq. 2; adaptive: Kwon et al., arXiv 2102.11600",
        defaults={
            "lr": 0.1,
            "rho": 0.05,
            "adaptive": False,
            "base": "sgd",
            "base_settings": {},
            "weight_decay": 0.0,
        },
        build=libraries.sam,
        differences=(
            "Ours (sam.py), around any registered base: the wrappers of libraries restore the weights by subtraction, "
            "this one exactly. Under data parallelism the perturbation follows the averaged gradient, where the paper "
            "lets each device perturb by its own. Weight decay is the base's, at the unperturbed weights."
        ),
        count_states=_sam_states,
    ),
    OptimizerInfo(
        name="lamb",
        library="timm",
        states=2,
        paper="You et al., arXiv 1904.00962",
        defaults={
            "lr": 1e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-6,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "always_adapt": False,
        },
        build=libraries.lamb,
        differences=(
            "timm's is NVLAMB, which the released runs used: gradients are first scaled to a global norm of at most "
            "max_grad_norm, and parameters without weight decay take no trust ratio. The paper's LAMB is "
            "max_grad_norm 0 and always_adapt true. Steps are counted per group."
        ),
    ),
    OptimizerInfo(
        name="nadam",
        library="torch",
        states=2,
        paper="Dozat 2016, 'Incorporating Nesterov momentum into Adam'",
        defaults={
            "lr": 2e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "momentum_decay": 4e-3,
            "decoupled_weight_decay": False,
        },
        build=libraries.nadam,
        differences=(
            "The momentum schedule mu_t enters the look-ahead but m decays with the constant beta1, as in all "
            "implementations. The same update as timm 0.6's 'nadam' (now NAdamLegacy), held to it by a test. "
            "Weight decay, which the paper does not have, is coupled unless decoupled_weight_decay is set."
        ),
    ),
    OptimizerInfo(
        name="adabound",
        library="pytorch_optimizer",
        states=2,
        paper="Luo et al., arXiv 1902.09843",
        defaults={
            "lr": 1e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "final_lr": 0.1,
            "gamma": 1e-3,
            "amsbound": False,
        },
        build=libraries.adabound,
        differences=(
            "As the authors' code: bias correction and no 1/sqrt(t) (the paper's Algorithm 2 has it the other way), "
            "bounds from final_lr and gamma scaled by lr / the first lr, weight decay coupled. The library decouples "
            "it by default, adds 1e-15 under the root, counts steps per group, and adds the decay to p.grad itself."
        ),
        count_states=lambda settings: 3 if settings["amsbound"] else 2,
    ),
    OptimizerInfo(
        name="radam",
        library="torch",
        states=2,
        paper="Liu et al., arXiv 1908.03265",
        defaults={
            "lr": 1e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "decoupled_weight_decay": True,
        },
        build=libraries.radam,
        differences=(
            "Rectified where rho_t > 5, as in the authors' code ('more conservative'); the paper says 4, which changes "
            "the fifth step at beta2 = 0.999 and no other. eps is added before the bias correction of the root. "
            "Weight decay is decoupled, as in the authors' code; torch couples it by default."
        ),
    ),
    OptimizerInfo(
        name="padam",
        library="experiments",
        states=3,
        paper="Chen et al., arXiv 1806.06763, Algorithm 1",
        defaults={
            "lr": 0.1,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "partial": 0.125,
            "bias_correction": False,
        },
        build=libraries.padam,
        differences=(
            "Ours (padam.py): pytorch_optimizer's PAdam lacks the AMSGrad maximum. `partial` is the paper's p (the "
            "denominator is the maximum to the power p); eps, from the authors' code, keeps it from zero. The paper "
            "corrects no bias, the authors' code by sqrt(1 - beta2^t) / (1 - beta1^t): bias_correction. "
            "Weight decay is coupled."
        ),
    ),
    OptimizerInfo(
        name="adabelief",
        library="timm",
        states=2,
        paper="Zhuang et al., arXiv 2010.07468, Algorithm 2",
        defaults={
            "lr": 1e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-16,
            "weight_decay": 0.0,
            "decoupled_weight_decay": True,
            "rectify": False,
        },
        build=libraries.adabelief,
        differences=(
            "As the paper and its code: eps is added to s itself at every step (and again outside the root), and the "
            "deviation g - m uses the new m. The paper does not rectify; adabelief-pytorch does by default from 0.1 "
            "on, and so does timm. Its ImageNet run has eps 1e-8; 1e-16 is the later default of the code. "
            "pytorch_optimizer's counts steps per group and modifies p.grad, so timm's is used."
        ),
    ),
]

CATALOGUE = {entry.name: entry for entry in _ENTRIES}
