"""optax.adan as an implementation to compare. Importing this module imports jax."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import numpy as np
import optax

from experiments.conformance.cases import Case
from experiments.conformance.implementations import Implementation, Stepper

jax.config.update("jax_enable_x64", True)  # without it jax computes in fp32 whatever it is given

LACKS = {
    "prox": "its weight decay is AdamW's: lr * weight_decay * parameter is subtracted with the step",
    "clipping": "its Adan has no clipping; optax.clip_by_global_norm is another transformation",
    "groups": "settings by group are another transformation (optax.partition)",
    "absent": "a gradient cannot be absent",
    "restart": "it has no restart",
}
CALL = "optax.adan(learning_rate=lr, b1=betas[0], b2=betas[1], b3=betas[2], eps=eps, eps_root=0.0, weight_decay=decay)"


class OptaxStepper:
    """`optax.adan` on the parameters of a case; `eps_root` (1e-8 by default) is 0, as in the paper."""

    def __init__(self, case: Case, precision: str) -> None:
        b1, b2, b3 = case.settings["betas"]
        self.adan = optax.inject_hyperparams(optax.adan)(
            learning_rate=case.settings["lr"],
            b1=b1,
            b2=b2,
            b3=b3,
            eps=case.settings["eps"],
            eps_root=0.0,
            weight_decay=case.settings["weight_decay"],
        )
        self.precision = precision
        self.values = [jax.numpy.asarray(value, precision) for part in case.start() for value in part]
        self.state = self.adan.init(self.values)
        self.update = jax.jit(self.adan.update)

    def params(self) -> list[np.ndarray]:
        return [np.array(value, dtype=np.float64) for value in self.values]

    def step(self, gradients: list[list[Any]], lr: float) -> None:
        grads = [jax.numpy.asarray(gradient, self.precision) for part in gradients for gradient in part]
        self.state.hyperparams["learning_rate"] = jax.numpy.asarray(lr, self.precision)
        updates, self.state = self.update(grads, self.state, self.values)
        self.values = optax.apply_updates(self.values, updates)

    def restart(self) -> None:
        raise RuntimeError(f"optax.adan cannot restart: {LACKS['restart']}")


def stepper(case: Case, precision: str, device: str) -> Stepper:
    return OptaxStepper(case, precision)


def program(case: Case, device: str) -> str:
    """A script for a case whose parameters are scalars that start at 1."""
    b1, b2, b3 = case.settings["betas"]
    rows = [gradient.item() for row in case.stream() for part in row[3] for gradient in part]
    return (
        "import jax\nimport optax\n\n"
        'jax.config.update("jax_enable_x64", True)\n'
        f"optimizer = optax.adan(learning_rate={case.settings['lr']!r}, b1={b1!r}, b2={b2!r}, b3={b3!r}, "
        f"eps={case.settings['eps']!r}, eps_root=0.0, weight_decay={case.settings['weight_decay']!r})\n"
        'param = jax.numpy.asarray(1.0, "float64")\n'
        "state = optimizer.init(param)\n"
        f"for gradient in {rows!r}:\n"
        '    updates, state = optimizer.update(jax.numpy.asarray(gradient, "float64"), state, param)\n'
        "    param = optax.apply_updates(param, updates)\n"
        "print([param.item()])\n"
    )


def implementation() -> Implementation:
    """The installed `optax.adan`."""
    default = inspect.signature(optax.adan).parameters["eps_root"].default
    remark = f"Its own default, eps_root={default!r}, would add that under the square root."
    return Implementation("optax.adan", optax.__version__, CALL, stepper, program, lacks=LACKS, remark=remark)
