"""Adam and its corrections: the same two moments."""

from __future__ import annotations

from experiments.optimizers import libraries
from experiments.optimizers.facts import OptimizerInfo, defaults_of

ENTRIES = [
    OptimizerInfo(
        name="adam",
        library="torch",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Kingma and Ba, arXiv 1412.6980",
        defaults=defaults_of("adam"),
        build=libraries.adam,
        differences=(
            "Weight decay, which the paper does not have, is coupled (added to the gradient, L2) unless "
            "decoupled_weight_decay is set, as in what fairseq calls Adam."
        ),
    ),
    OptimizerInfo(
        name="adamw",
        library="torch",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Loshchilov and Hutter, arXiv 1711.05101",
        defaults=defaults_of("adamw"),
        build=libraries.adamw,
        differences="Decay is lr * weight_decay * theta with the scheduled lr; the paper has its own factor.",
    ),
    OptimizerInfo(
        name="amsgrad",
        library="torch",
        states=3,
        elementwise=True,
        capturable=True,
        paper="Reddi, Kale and Kumar, arXiv 1904.09237, Algorithm 2",
        defaults=defaults_of("amsgrad"),
        build=libraries.amsgrad,
        differences=(
            "torch's Adam with amsgrad: the maximum is of the raw second moments and is corrected afterwards, like the "
            "first moment; that is what the name means in published comparisons. The paper's Algorithm 2 corrects "
            "neither, for simplicity: bias_correction false, which runs padam.py at p = 1/2. eps, which the paper does "
            "not have, is outside the root. Weight decay is coupled."
        ),
    ),
    OptimizerInfo(
        name="amsgradw",
        library="torch",
        states=3,
        elementwise=True,
        capturable=True,
        paper="Reddi, Kale and Kumar, arXiv 1904.09237, Algorithm 2, decay as arXiv 1711.05101",
        defaults=defaults_of("amsgradw"),
        build=libraries.amsgradw,
        differences="As amsgrad, with bias correction, but for weight decay: lr * weight_decay * theta, as in adamw.",
    ),
    OptimizerInfo(
        name="nadam",
        library="torch",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Dozat 2016, 'Incorporating Nesterov momentum into Adam'",
        defaults=defaults_of("nadam"),
        build=libraries.nadam,
        differences=(
            "The momentum schedule mu_t enters the look-ahead but m decays with the constant beta1, as in all "
            "implementations. The same update as timm 0.6's 'nadam' (now NAdamLegacy), held to it by a test. "
            "Weight decay, which the paper does not have, is coupled unless decoupled_weight_decay is set."
        ),
    ),
    OptimizerInfo(
        name="nadamw",
        library="timm",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Choi et al., arXiv 1910.05446, Table 1, decay as arXiv 1711.05101; MLCommons algorithmic-efficiency",
        defaults=defaults_of("nadamw"),
        build=libraries.nadamw,
        differences=(
            "The look-ahead beta1 m + (1 - beta1) g is corrected by 1 - beta1^t, as MLCommons does, without Dozat's "
            "schedule of momenta: torch's NAdam with decoupled decay is another update (here: nadam with "
            "decoupled_weight_decay true). No clipping of the update, no cautious mask."
        ),
    ),
    OptimizerInfo(
        name="radam",
        library="torch",
        states=2,
        elementwise=True,
        capturable=True,
        paper="Liu et al., arXiv 1908.03265",
        defaults=defaults_of("radam"),
        build=libraries.radam,
        differences=(
            "Rectified where rho_t > 5, as in the authors' code ('more conservative'); the paper says 4, which changes "
            "the fifth step at beta2 = 0.999 and no other. eps is added before the bias correction of the root. "
            "Weight decay is decoupled, as in the authors' code; torch couples it by default."
        ),
    ),
]
