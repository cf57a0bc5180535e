"""Golden values: the authors' code on one parameter of one number, computed in float64 from its formulas.

theta0 = 1, lr 0.1, eps 1e-8, default betas unless said otherwise. For each name the settings, and the parameter after
each of `GRADIENTS`, to ten digits.
"""

GRADIENTS = (0.5, -0.3, 0.8, 0.1, -0.6)
TRAJECTORIES = {
    "no decay": ({}, (0.9000000020, 0.9352740853, 0.8985604383, 0.8823209180, 0.8938366509)),
    "prox": ({"weight_decay": 0.02}, (0.8982035948, 0.9316144492, 0.8931145731, 0.8751248032, 0.8848707945)),
    "no_prox": (
        {"weight_decay": 0.02, "no_prox": True},
        (0.8980000020, 0.9314780853, 0.8929014821, 0.8748761589, 0.8846421394),
    ),
    "clipped": (
        {"weight_decay": 0.02, "max_grad_norm": 0.4},
        (0.8982035953, 0.9361194931, 0.9124056375, 0.8990656209, 0.9132404801),
    ),
    "other betas": (
        {"weight_decay": 0.02, "betas": (0.9, 0.9, 0.999)},
        (0.8982035948, 0.9336790937, 0.8934066347, 0.8751768285, 0.8880450564),
    ),
}
