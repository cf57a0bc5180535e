"""The Adan optimizer class: groups, states, clipping, restart, checkpoints. The arithmetic is in `adan.update`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from adan.checkpoint import MOMENTS, translate
from adan.update import Hyperparameters, Slot, foreach, global_norm, single_tensor, state_dtype

# On a CPU a list operation saves Python's overhead per tensor but walks over all tensors before the next operation,
# so it loses once they no longer fit the cache together (measured: between 0.25 and 1 million elements).
FOREACH_CPU_ELEMENTS = 1 << 19


class Adan(Optimizer):
    """Adaptive Nesterov momentum (arXiv 2208.06677, Algorithm 1; github.com/sail-sg/Adan), for real dense gradients.

    Differs from the authors' class where that departs from its own documentation: `p.grad` is never modified;
    `max_grad_norm` is read from each group, also after `load_state_dict`; every parameter counts its own steps, so
    that one whose first gradient comes late is corrected by its own count. States are kept in fp32 for parameters
    in half precision. Four floats of state per parameter: m, v, n and the previous (clipped) gradient.

    Args:
        params: parameters, or groups of them; every argument below can be set per group.
        lr: learning rate, a float or a one-element tensor.
        betas: decay rates of m (gradients), v (differences) and n (squares) in the convention of the code; the
            paper writes 1 - beta, so its (0.02, 0.08, 0.01) is (0.98, 0.92, 0.99) here.
        eps: added to the square root, and to the norm when clipping.
        weight_decay: decoupled; the parameter is divided by 1 + lr * weight_decay after the step.
        max_grad_norm: threshold for the norm over the gradients of *all* groups; this group's gradients count
            min(1, max_grad_norm / (norm + eps)) times. 0 is off.
        no_prox: multiply by 1 - lr * weight_decay before the step (as AdamW) instead.
        foreach: True for one call per operation over all tensors, False for tensor by tensor, None to choose.
        fused: None or False; True raises, because there is no fused kernel yet.

    Raises:
        ValueError: a hyper-parameter out of its range.
        NotImplementedError: `fused=True`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        max_grad_norm: float = 0.0,
        no_prox: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
            "no_prox": no_prox,
            "foreach": foreach,
            "fused": fused,
        }
        _check(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        overrides = {key: value for key, value in param_group.items() if key in self.defaults}
        if overrides:
            _check({**self.defaults, **overrides})
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in (("max_grad_norm", 0.0), ("no_prox", False), ("foreach", None), ("fused", None)):
                group.setdefault(key, value)

    @property
    def implementation(self) -> str:
        """What `step` runs: `foreach`, `single-tensor`, or both names where groups differ."""
        names = {"foreach" if _use_foreach(group) else "single-tensor" for group in self.param_groups}
        return "+".join(sorted(names))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return what `closure`, if any, returned.

        Raises:
            RuntimeError: a sparse or complex gradient, before anything has changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        grads = [_checked_grad(p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        clips = any(group["max_grad_norm"] > 0 for group in self.param_groups)
        norm = global_norm(grads) if grads and clips else None
        for group in self.param_groups:
            slots = self._slots(group)
            if not slots:
                continue
            scale = None
            if norm is not None and group["max_grad_norm"] > 0:
                scale = (group["max_grad_norm"] / (norm + group["eps"])).clamp(max=1.0)
            update = foreach if _use_foreach(group) else single_tensor
            update(slots, scale, _hyperparameters(group))
        return loss

    @torch.no_grad()
    def restart_opt(self) -> None:
        """Forget all momentum (lines 8-11 of Algorithm 1): the next step is a first step, at its own gradient.

        The authors advise it after warm-up and at a few chosen epochs (github.com/sail-sg/Adan/issues/37).
        """
        for state in self.state.values():
            state["step"] = 0
            for name in ("exp_avg", "exp_avg_diff", "exp_avg_sq"):
                state[name].zero_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a copy of `state_dict`, from this class, the authors' or timm's Adan."""
        source: dict[str, Any] = {}

        def adopt(_: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            source.update(translate(saved))
            return source

        def copy_moments(_: Optimizer) -> None:
            # torch's own loader casts states to the parameter's type and shares their memory with `state_dict`.
            for group, saved_group in zip(self.param_groups, source["param_groups"], strict=True):
                for param, index in zip(group["params"], saved_group["params"], strict=True):
                    for name in MOMENTS:
                        if index in source["state"]:
                            saved = source["state"][index][name]
                            self.state[param][name] = saved.to(param.device, state_dtype(param), copy=True)

        handles = (
            self.register_load_state_dict_pre_hook(adopt),
            self.register_load_state_dict_post_hook(copy_moments, prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()

    def _slots(self, group: dict[str, Any]) -> list[Slot]:
        """The group's parameters that have a gradient, with their states, each counted one step further."""
        slots = []
        for param in group["params"]:
            if param.grad is None:
                continue
            state = self.state[param]
            if not state:
                state["step"] = 0
                for name in MOMENTS:
                    state[name] = torch.zeros_like(param, dtype=state_dtype(param))
            state["step"] += 1
            slots.append(Slot(param, param.grad, **{name: state[name] for name in (*MOMENTS, "step")}))
        return slots


def _use_foreach(group: dict[str, Any]) -> bool:
    """Whether the group is stepped list by list; depends on its parameters alone, never on the gradients at hand."""
    if group["foreach"] is not None:
        return group["foreach"]
    params = group["params"]
    if any(param.is_cuda for param in params):
        return True
    return len(params) > 1 and sum(param.numel() for param in params) <= FOREACH_CPU_ELEMENTS


def _hyperparameters(group: dict[str, Any]) -> Hyperparameters:
    return Hyperparameters(
        lr=float(group["lr"]),
        betas=tuple(group["betas"]),
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        no_prox=group["no_prox"],
    )


def _checked_grad(param: Tensor) -> Tensor:
    """The gradient of `param`; RuntimeError where it is sparse or complex."""
    grad = param.grad
    assert grad is not None
    for kind, found in (("sparse", grad.layout is not torch.strided), ("complex", grad.is_complex())):
        if found:
            shape = tuple(param.shape)
            raise RuntimeError(f"Adan takes real, dense gradients; that of a parameter of shape {shape} is {kind}")
    return grad


def _check(group: Mapping[str, Any]) -> None:
    """Refuse hyper-parameters out of range; warn about betas in the paper's convention."""
    lr, betas = group["lr"], group["betas"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"lr as a tensor must have one element, not shape {tuple(lr.shape)}")
    for name in ("lr", "eps", "weight_decay", "max_grad_norm"):
        if not 0.0 <= group[name] < float("inf"):
            raise ValueError(f"{name} must be at least 0 and finite, not {group[name]}")
    if len(betas) != 3 or not all(0.0 <= beta < 1.0 for beta in betas):
        raise ValueError(f"betas must be three numbers in [0, 1), not {betas}")
    if any(beta < 0.5 for beta in betas):
        paper = ", ".join(f"{1 - beta:g}" for beta in betas)
        warnings.warn(
            f"betas={tuple(betas)}: the paper writes 1 - beta, this code (like the authors') the decay rates "
            f"themselves. If these come from the paper, pass ({paper}); the default is (0.98, 0.92, 0.99).",
            stacklevel=3,
        )
    if group["fused"]:
        raise NotImplementedError("Adan has no fused kernel yet: leave fused=None (foreach runs on any device)")
