"""The Adan optimizer class: groups, states, clipping, restart, checkpoints. The arithmetic is in `adan.update`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from adan.checkpoint import translate
from adan.clipping import ShardedSum
from adan.group_step import FUSED_GPU, GroupStep, chosen, first_state
from adan.slots import MOMENTS

# Options that came after the first release, with what they were before.
LATER_OPTIONS = {
    "max_grad_norm": 0.0,
    "no_prox": False,
    "foreach": None,
    "fused": None,
    "capturable": False,
    "state_dtype": None,
    "state_rounding": "stochastic",
}
STATE_ROUNDINGS = ("stochastic", "nearest")
END = object()


class Adan(Optimizer):
    """Adaptive Nesterov momentum (arXiv 2208.06677, Algorithm 1; github.com/sail-sg/Adan), for real dense gradients.

    Differs from the authors' class where that departs from its own documentation: `p.grad` is never modified;
    `max_grad_norm` is read from each group, also after `load_state_dict`; every parameter counts its own steps, so
    that one whose first gradient comes late is corrected by its own count. States are kept in fp32 for parameters
    in half precision. Four floats of state per parameter: m, v, n and the previous (clipped) gradient.

    Args:
        params: parameters, or groups of them; every argument below but `norm_group` can be set per group.
        lr: learning rate, a float or a one-element tensor.
        betas: decay rates of m (gradients), v (differences) and n (squares) in the convention of the code; the
            paper writes 1 - beta, so its (0.02, 0.08, 0.01) is (0.98, 0.92, 0.99) here.
        eps: added to the square root, and to the norm when clipping.
        weight_decay: decoupled; the parameter is divided by 1 + lr * weight_decay after the step.
        max_grad_norm: threshold for the norm over the gradients of *all* groups; this group's gradients count
            min(1, max_grad_norm / (norm + eps)) times. 0 is off. DTensors (FSDP2) are summed over their mesh.
        no_prox: multiply by 1 - lr * weight_decay before the step (as AdamW) instead.
        foreach: True for one call per operation over all tensors, False for tensor by tensor, None to choose.
        fused: True insists on a kernel that makes the step in one pass over memory (C++ on a CPU, built on first use;
            Triton on a GPU), False forbids it, None takes it where it can be had, unless `foreach=True` asks
            otherwise. `implementation` tells what was taken.
        capturable: True insists on a step that can be captured in a CUDA graph, which the GPU kernel's always can.
        state_dtype: torch.bfloat16 keeps m, v, n and the previous gradient in 8 bytes a parameter instead of 16
            (fp64 parameters keep fp64).
        state_rounding: how m, v and n become bf16: "stochastic" (`adan.rounding`) or "nearest".
        norm_group: process group over which the norm for clipping is summed, for an optimizer that sees only some
            of the parameters (ZeroRedundancyOptimizer). All its processes must step together.

    Raises:
        ValueError: a hyper-parameter out of its range.
        RuntimeError: at the first step, `fused=True` or `capturable=True` where there is no such kernel.
    """

    # GradScaler passes `found_inf` and `grad_scale` instead of waiting for the device.
    _step_supports_amp_scaling = True

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
        *,
        capturable: bool = False,
        state_dtype: torch.dtype | None = None,
        state_rounding: str = "stochastic",
        norm_group: Any = None,
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
            "capturable": capturable,
            "state_dtype": state_dtype,
            "state_rounding": state_rounding,
        }
        _check(defaults)
        self.norm_group = norm_group
        self._group_steps: list[GroupStep] = []
        self._known: list[Any] = [END]
        self._sharded_sum: ShardedSum | None = None
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        overrides = {key: value for key, value in param_group.items() if key in self.defaults}
        if overrides:
            _check({**self.defaults, **overrides})
        super().add_param_group(param_group)
        self._group_steps.append(GroupStep())
        self._sharded_sum = None

    def __getstate__(self) -> dict[str, Any]:
        if self.norm_group is not None:
            raise TypeError(
                "an Adan with norm_group cannot be copied or pickled: a process group cannot; use state_dict"
            )
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.norm_group = getattr(self, "norm_group", None)
        self._group_steps = [GroupStep() for _ in self.param_groups]
        self._known = [END]
        self._sharded_sum = None
        for group in self.param_groups:
            for key, value in LATER_OPTIONS.items():
                group.setdefault(key, value)

    @property
    def implementation(self) -> str:
        """What `step` runs, or would run if it has not yet: names of `adan.group_step`, joined by + where several do.

        On a CPU this may build the kernel, as the first step would.
        """
        names: set[str] = set()
        for group, step in zip(self.param_groups, self._group_steps, strict=True):
            names |= step.implementations or chosen(group)
        return "+".join(sorted(names))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return what `closure`, if any, returned.

        Under a `torch.amp.GradScaler` gradients are unscaled on the way, `p.grad` stays as it is, and where one was
        infinite nothing changes.

        Raises:
            RuntimeError: a sparse or complex gradient, before anything has changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        grad_scale, found_inf = self.__dict__.get("grad_scale"), self.__dict__.get("found_inf")
        if found_inf is not None and self.implementation != FUSED_GPU:
            if found_inf.item():
                return loss
            grad_scale, found_inf = None if grad_scale is None else float(grad_scale), None
        pairs = list(zip(self.param_groups, self._group_steps, strict=True))
        self._attach_gradients(pairs)
        norm = self._norm() if any([group["max_grad_norm"] > 0 for group, _ in pairs]) else None
        for group, step in pairs:
            step.step(group, self._scale(group, norm, grad_scale), found_inf)
        for _, step in pairs:
            step.slots.release_gradients()
        return loss

    def _attach_gradients(self, pairs: list[tuple[dict[str, Any], GroupStep]]) -> None:
        """Find this step's gradients, and states for all that have one."""
        if not all(map(is_, self._tensors_of_states(), self._known)):
            for _, step in pairs:
                step.slots.forget()
        for group, step in pairs:
            step.slots.find_gradients(group["params"])
        number, new = 0, False
        for group, step in pairs:
            step.attach(self.state, group, number)
            number += len(group["params"])
            new |= step.slots.new
        if new:
            self._known = list(self._tensors_of_states())

    def _tensors_of_states(self) -> Iterator[Any]:
        """All that `state` holds, closed by an end, so that a list that lacks something differs."""
        return chain(chain.from_iterable(map(dict.values, self.state.values())), (END,))

    def _scale(self, group: dict[str, Any], norm: Any, grad_scale: Any) -> Any:
        """What the group's gradients are multiplied with: the clip factor, and the inverse of a scaler's scale.

        `norm` is that of the gradients as they are, scaled."""
        if norm is None and grad_scale is None:
            return 1.0
        unscale = 1.0 if grad_scale is None else 1.0 / grad_scale
        if norm is None or not group["max_grad_norm"] > 0:
            return unscale
        clip = group["max_grad_norm"] / (norm * unscale + group["eps"])
        # Written so that a norm that is NaN makes everything NaN, as it should: min(1.0, nan) is 1.0.
        return unscale * (clip.clamp(max=1.0) if isinstance(clip, Tensor) else 1.0 if clip > 1.0 else clip)

    @torch.no_grad()
    def _norm(self) -> float | Tensor:
        """2-norm of all gradients, here and on the processes that share them."""
        parts = [pair for step in self._group_steps for pair in step.sums_of_squares()]
        if self._sharded_sum is None:
            self._sharded_sum = ShardedSum(param for group in self.param_groups for param in group["params"])
        return self._sharded_sum(parts, self.norm_group) ** 0.5

    @torch.no_grad()
    def restart_opt(self) -> None:
        """Forget all momentum (lines 8-11 of Algorithm 1): the next step is a first step, at its own gradient.

        The authors advise it after warm-up and at a few chosen epochs (github.com/sail-sg/Adan/issues/37).
        """
        for state in self.state.values():
            for name in ("step", "exp_avg", "exp_avg_diff", "exp_avg_sq"):
                state[name].zero_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a copy of `state_dict`, from this class, the authors' or timm's Adan."""
        source: dict[str, Any] = {}

        def adopt(_: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            source.update(translate(saved))
            return source

        def copy_states(_: Optimizer) -> None:
            # torch's own loader casts states to the parameter's type and shares their memory with `state_dict`.
            for group, saved_group in zip(self.param_groups, source["param_groups"], strict=True):
                for param, index in zip(group["params"], saved_group["params"], strict=True):
                    if index in source["state"]:
                        self.state[param] = _copied(first_state(group, param), source["state"][index])

        handles = (
            self.register_load_state_dict_pre_hook(adopt),
            self.register_load_state_dict_post_hook(copy_states, prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()


def _copied(state: dict[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """`state` with the values of `saved`, and what else is in there."""
    state["step"].fill_(float(saved["step"]))
    for name in MOMENTS:
        state[name].copy_(saved[name])
    return {**saved, **state}


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
    if group["state_dtype"] not in (None, torch.float32, torch.bfloat16):
        raise ValueError(f"state_dtype must be None, torch.float32 or torch.bfloat16, not {group['state_dtype']}")
    if group["state_rounding"] not in STATE_ROUNDINGS:
        raise ValueError(f"state_rounding must be one of {STATE_ROUNDINGS}, not {group['state_rounding']!r}")
    if any(beta < 0.5 for beta in betas):
        paper = ", ".join(f"{1 - beta:g}" for beta in betas)
        warnings.warn(
            f"betas={tuple(betas)}: the paper writes 1 - beta, this code (like the authors') the decay rates "
            f"themselves. If these come from the paper, pass ({paper}); the default is (0.98, 0.92, 0.99).",
            stacklevel=3,
        )
