"""The Adan optimizer class: groups, states, clipping, restart, checkpoints. The arithmetic is in `adan.update`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from adan.checkpoint import fitted
from adan.clipping import Scaling
from adan.foreign_states import in_our_form
from adan.group_step import FUSED_GPU, chosen
from adan.options import LATER_OPTIONS, check_options, warn_of_paper_betas
from adan.plan import Plan, check_groups


class Adan(Optimizer):
    """Adaptive Nesterov momentum (arXiv 2208.06677, Algorithm 1; github.com/sail-sg/Adan), for real dense gradients.

    Differs from the authors' class where that departs from its own documentation: `p.grad` is never modified;
    `max_grad_norm` is read from each group, also after `load_state_dict`; every parameter counts its own steps, so
    that one whose first gradient comes late is corrected by its own count. States are kept in fp32 for parameters
    in half precision. Four floats of state per parameter: m, v, n and the previous (clipped) gradient.

    States of the authors', timm's and pytorch_optimizer's Adan can be loaded. The other way `state_dict` is not enough,
    though it loads without an error: `adan.export_state_dict` makes one from which their classes go on exactly.

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
            (fp64 parameters keep fp64). Where a group's is changed later, `load_state_dict(state_dict())` casts.
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
        check_options(defaults, given=True)
        warn_of_paper_betas(defaults, stacklevel=2)
        self.norm_group = norm_group
        self._plan: Plan | None = None
        self._captured: list[Any] = []  # what CUDA graphs of steps read, also of plans that have been replaced
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        overrides = {key: value for key, value in param_group.items() if key in self.defaults}
        if overrides:
            check_options({**self.defaults, **overrides}, given=True)
            warn_of_paper_betas({**self.defaults, **overrides}, stacklevel=2)
        super().add_param_group(param_group)
        try:
            check_groups(self.param_groups)
        except ValueError:
            del self.param_groups[-1]
            raise

    def __getstate__(self) -> dict[str, Any]:
        if self.norm_group is not None:
            raise TypeError(
                "an Adan with norm_group cannot be copied or pickled: a process group cannot; use state_dict"
            )
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.norm_group = getattr(self, "norm_group", None)
        self._plan = None
        self._captured = getattr(self, "_captured", [])
        for group in (self.defaults, *self.param_groups):
            for key, value in LATER_OPTIONS.items():
                group.setdefault(key, value)
        if any("step" in group for group in self.param_groups):
            self._become_ours()

    def _become_ours(self) -> None:
        """Turn what was unpickled from a whole optimizer of the authors, whose module is named adan as well."""
        try:
            ours = in_our_form({"state": self.state, "param_groups": self.param_groups})
            states = fitted(ours, self.param_groups)
        except ValueError as error:
            raise ValueError(
                f"this pickled Adan is not of this package, and cannot be turned into it: {error}"
            ) from None
        self.defaults.update(foreach=None, fused=None)
        self.param_groups = ours["param_groups"]
        self.state.clear()
        self.state.update(states)

    @property
    def implementation(self) -> str:
        """Tell what `step` runs, or would run if it has not yet: names of `adan.group_step`, joined by + where several
        do.

        On a CPU this may build the kernel, as the first step would.
        """
        names: set[str] = set()
        for group, step in self._planned().pairs:
            names |= step.implementations or chosen(group)
        return "+".join(sorted(names))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return what `closure`, if any, returned.

        Under a `torch.amp.GradScaler` gradients are unscaled on the way, `p.grad` stays as it is, and where one was
        infinite nothing changes.

        Raises, before anything has changed:
            RuntimeError: a sparse or complex gradient; states that do not fit their parameter.
            ValueError: `param_groups` were edited into something that cannot be stepped.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        plan = self._planned()
        clips = False
        for group, group_step in plan.pairs:
            group_step.read_options(group)
            clips |= group["max_grad_norm"] > 0
        grad_scale, found_inf = self.__dict__.get("grad_scale"), self.__dict__.get("found_inf")
        if found_inf is not None and self.implementation != FUSED_GPU:
            if found_inf.item():
                return loss
            grad_scale, found_inf = None if grad_scale is None else float(grad_scale), None
        plan.attach_gradients(self.state)
        unscale = 1.0 if grad_scale is None else 1.0 / grad_scale
        scaling = Scaling(unscale, plan.sum_of_squares(self.norm_group) if clips else None)
        for _, group_step in plan.pairs:
            group_step.step(scaling, found_inf)
        for _, group_step in plan.pairs:
            group_step.slots.release_gradients()
        return loss

    def _planned(self) -> Plan:
        """Return what is kept between steps, made anew where `param_groups` has been edited."""
        if self._plan is None or not self._plan.fits(self.param_groups):
            self._plan = Plan(self.param_groups, self._captured)
        return self._plan

    @torch.no_grad()
    def restart_opt(self) -> None:
        """Forget all momentum (lines 8-11 of Algorithm 1): the next step is a first step, at its own gradient.

        The authors advise it after warm-up and at a few chosen epochs (github.com/sail-sg/Adan/issues/37).
        """
        for state in self.state.values():
            for name in ("step", "exp_avg", "exp_avg_diff", "exp_avg_sq"):
                if name in state:
                    state[name].zero_()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a copy of `state_dict`, from this class, the authors', timm's or pytorch_optimizer's Adan.

        Raises:
            ValueError: before anything has changed, what this optimizer cannot go on from exactly: other shapes, a
                part missing, another optimizer's state (`adan.foreign_states` names it).
        """
        if not isinstance(state_dict, Mapping):
            raise ValueError(f"a state_dict is a dictionary with 'state' and 'param_groups', not {type(state_dict)}")
        states: dict[Tensor, dict[str, Any]] = {}

        def adopt(_: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            ours = in_our_form(saved)
            states.update(fitted(ours, self.param_groups))
            # torch's own loader would cast states to the parameter's type and share their memory with `state_dict`.
            return {**ours, "state": {}}

        def put_states(_: Optimizer) -> None:
            self.state.update(states)

        handles = (
            self.register_load_state_dict_pre_hook(adopt),
            self.register_load_state_dict_post_hook(put_states, prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()
