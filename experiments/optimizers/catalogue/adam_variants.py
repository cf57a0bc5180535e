"""Adam with another denominator, with bounds, or with layer-wise rates."""

from __future__ import annotations

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo, defaults_of

ENTRIES = [
    OptimizerInfo(
        name="adabound",
        library="pytorch_optimizer",
        states=2,
        elementwise=True,
        paper="Luo et al., arXiv 1902.09843",
        defaults=defaults_of("adabound"),
        build=libraries.adabound,
        differences=(
            "As the authors' code: bias correction and no 1/sqrt(t) (the paper's Algorithm 2 has it the other way), "
            "bounds from final_lr and gamma scaled by lr / the first lr, weight decay coupled. The library decouples "
            "it by default, adds 1e-15 under the root, counts steps per group, and adds the decay to p.grad itself."
        ),
        count_states=lambda settings: 3 if settings["amsbound"] else 2,
    ),
    OptimizerInfo(
        name="adamod",
        library="pytorch_optimizer",
        states=3,
        elementwise=True,
        paper="Ding et al., arXiv 1910.12249, Algorithm 1",
        defaults=defaults_of("adamod"),
        build=libraries.adamod,
        differences=(
            "As the authors' code (lancopku/AdaMod): the rate that is averaged and bounded contains the correction "
            "1 / (1 - beta1^t) of the first moment, where the paper corrects the moment itself. That makes the first "
            "steps, all of which the bound shortens, several times as long as the paper's, those after 500 a tenth "
            "longer, and later ones the same. eps is added before the correction of the root. The library's default "
            "betas are (0.9, 0.99, 0.9999); here they are the authors' code's. Weight decay is decoupled, as there. "
            "Steps are counted per group."
        ),
    ),
    OptimizerInfo(
        name="padam",
        library="experiments",
        states=3,
        elementwise=True,
        capturable=True,
        paper="Chen et al., arXiv 1806.06763, Algorithm 1",
        defaults=defaults_of("padam"),
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
        elementwise=True,
        paper="Zhuang et al., arXiv 2010.07468, Algorithm 2",
        defaults=defaults_of("adabelief"),
        build=libraries.adabelief,
        differences=(
            "As the paper and its code: eps is added to s itself at every step (and again outside the root), and the "
            "deviation g - m uses the new m. The paper does not rectify; adabelief-pytorch does by default from 0.1 "
            "on, and so does timm. Its ImageNet run has eps 1e-8; 1e-16 is the later default of the code. "
            "pytorch_optimizer's counts steps per group and modifies p.grad, so timm's is used."
        ),
    ),
    OptimizerInfo(
        name="yogi",
        library="pytorch_optimizer",
        states=2,
        elementwise=True,
        paper="Zaheer et al., NeurIPS 2018, 'Adaptive methods for nonconvex optimization', Algorithm 2",
        defaults=defaults_of("yogi"),
        build=libraries.yogi,
        differences=(
            "eps 1e-3 is the paper's. It advises to start the second moment at the squared gradients of a large batch; "
            "implementations (TensorFlow's, optax's) start it at 1e-6, and this one the first moment, too, so that a "
            "weight whose gradient is zero drifts at first. Both moments are bias-corrected, which Algorithm 2 leaves "
            "out. lr 1e-2 is the implementations', ten times Adam's. Weight decay, which it does not have, is "
            "coupled; the library decouples it by default, adds it to p.grad itself, and counts steps per group."
        ),
    ),
    OptimizerInfo(
        name="lamb",
        library="timm",
        states=2,
        paper="You et al., arXiv 1904.00962",
        defaults=defaults_of("lamb"),
        build=libraries.lamb,
        differences=(
            "timm's is NVLAMB, which the released runs used: gradients are first scaled to a global norm of at most "
            "max_grad_norm, and parameters without weight decay take no trust ratio. The paper's LAMB is "
            "max_grad_norm 0 and always_adapt true. Steps are counted per group."
        ),
    ),
]
