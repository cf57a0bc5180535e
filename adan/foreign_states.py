"""States of other Adan classes in this one's form where that is exact; of all others the name, in a refusal.

=======================================  =============================================================================
class                                    what it keeps
=======================================  =============================================================================
sail-sg/Adan, first versions (2022)      `pre_grad`; counts steps per group
sail-sg/Adan, since December 2022        `neg_pre_grad`, the negative of the previous gradient; counts per group
timm since 1.0.12                        the same; `caution` multiplies by a mask, which this class does not
timm 0.8.2dev0 to 1.0.11                 `pre_grad`, n under `exp_avg_diff` and v under `exp_avg_sq`, no
                                         `max_grad_norm` (timm/optim/adan.py@2a296412; mended by 1ab02a11)
pytorch_optimizer since 2.7.0            `previous_grad`, which is the negative one; `weight_decouple` for `no_prox`
=======================================  =============================================================================

Not to be seen in a state: pytorch_optimizer's `maximize`, which is an attribute of the object, and the authors'
`max_grad_norm`, which their step reads from the constructor's arguments.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from adan.slots import MOMENTS, local

PREVIOUS_GRADIENTS = {"pre_grad": 1, "neg_pre_grad": -1, "previous_grad": -1}
OTHER_CHOICES = ("caution", "adanorm", "use_gc", "maximize")
# What tells an optimizer by its states, or by the options of its groups; the first that fits names it.
OWNERS: tuple[tuple[set[str], set[str], str], ...] = (
    ({"exp_avg_nest"}, set(), "pytorch_optimizer's Adan before 2.7.0"),
    ({"previous_grad", "exp_avg_diff"}, set(), "pytorch_optimizer's Adan"),
    ({"neg_pre_grad"}, set(), "the authors' or timm's Adan"),
    ({"prev_grad", "m", "v", "n"}, set(), "lucidrains' Adan"),
    ({"exp_avg_diff"}, set(), "some Adan"),
    ({"mu_product"}, set(), "torch's NAdam"),
    ({"exp_inf"}, set(), "torch's Adamax"),
    ({"exp_avg", "exp_avg_sq"}, set(), "Adam or AdamW"),
    ({"exp_avg"}, set(), "Lion or another optimizer with one moment"),
    ({"square_avg"}, set(), "RMSprop or Adadelta"),
    ({"momentum_buffer"}, set(), "SGD"),
    ({"prev", "step_size"}, set(), "Rprop"),
    ({"sum"}, set(), "Adagrad"),
    (set(), {"growth_rate"}, "one of pytorch_optimizer's D-adaptation"),
    (set(), {"nesterov", "momentum"}, "SGD"),
    (set(), {"amsgrad"}, "Adam or AdamW"),
)


def in_our_form(saved: Mapping[str, Any]) -> dict[str, Any]:
    """`saved` in the form of `adan.Adan.state_dict()`, itself not changed. Choices of kernels (`foreach`, `fused`) of
    another class belong to the machine where it ran and are dropped.

    Raises ValueError where it is no state dictionary, or the state of another optimizer.
    """
    groups, states = _parts(saved)
    for group in groups:
        found = [values for index in group["params"] if (values := states.get(index))]
        _refuse_other_optimizers(group, found)
    counted = all("step" in values for values in states.values() if values)
    if counted and not any("step" in group or "weight_decouple" in group for group in groups):
        return dict(saved)
    swapped = _swapped(groups, states)
    translated, ours = dict(states), []
    for group in groups:
        ours.append(_our_group(group))
        for index in group["params"]:
            if states.get(index) and "step" not in states[index]:
                translated[index] = _our_state(states[index], _count(group), swapped)
    return {**saved, "state": translated, "param_groups": ours}


def likely_owner(state: Mapping[str, Any], group: Mapping[str, Any]) -> str | None:
    """The optimizer that keeps such a state under such options, if it is known."""
    for names, options, owner in OWNERS:
        if names <= state.keys() and options <= group.keys():
            return owner
    return None


def _parts(saved: Any) -> tuple[Sequence[Mapping[str, Any]], Mapping[Hashable, Mapping[str, Any]]]:
    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= saved.keys():
        keys = ", ".join(map(str, list(saved)[:5])) if isinstance(saved, Mapping) else type(saved).__name__
        raise ValueError(
            f"an optimizer's state_dict has 'state' and 'param_groups', this has {keys or 'nothing'}; of a whole "
            "checkpoint pass the optimizer's part"
        )
    groups, states = saved["param_groups"], saved["state"]
    if not isinstance(groups, (list, tuple)) or not all(isinstance(g, Mapping) and "params" in g for g in groups):
        raise ValueError("'param_groups' of a state_dict must be a list of dictionaries with 'params'")
    if not isinstance(states, Mapping) or not all(isinstance(values, Mapping) for values in states.values()):
        raise ValueError("'state' of a state_dict must have a dictionary for each parameter")
    return groups, states


def _refuse_other_optimizers(group: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> None:
    for name in OTHER_CHOICES:
        if group.get(name):
            raise ValueError(f"the state is of an optimizer with {name}={group[name]!r}, which this Adan does not have")
    for state in states:
        known = {"exp_avg", "exp_avg_diff", "exp_avg_sq"} <= state.keys()
        # Of Adan's own classes nothing but what is translated; in a state of ours the user may keep more.
        foreign = "step" not in state
        more = state.keys() - {*MOMENTS, *PREVIOUS_GRADIENTS} if foreign else set()
        if not known or more:
            likely = likely_owner(state, group) or "another optimizer"
            raise ValueError(
                f"the state is that of {likely} (it keeps {', '.join(sorted(map(str, state)))}); Adan cannot go on "
                "from it. Begin with a new optimizer, on the weights of the checkpoint"
            )
    if not states and (owner := likely_owner({}, group)):
        raise ValueError(f"the state is that of {owner}: its groups have {', '.join(sorted(map(str, group)))}")


def _count(group: Mapping[str, Any]) -> Any:
    if "step" not in group:
        raise ValueError("the state lacks its count of steps: neither the parameter nor its group has a 'step'")
    return group["step"]


def _our_group(group: Mapping[str, Any]) -> dict[str, Any]:
    dropped = {"step", "weight_decouple", "adanorm_r", *OTHER_CHOICES}
    ours = {key: value for key, value in group.items() if key not in dropped} | {"foreach": None, "fused": None}
    if "weight_decouple" in group:
        ours["no_prox"] = bool(group["weight_decouple"])
    return ours


def _our_state(state: Mapping[str, Any], step: Any, swapped: bool) -> dict[str, Any]:
    result = {name: state[name] for name in ("exp_avg", "exp_avg_diff", "exp_avg_sq")}
    if swapped:
        result["exp_avg_diff"], result["exp_avg_sq"] = state["exp_avg_sq"], state["exp_avg_diff"]
    previous = next((name for name in PREVIOUS_GRADIENTS if name in state), None)
    if previous is None:
        # As after a restart before the first step: the next step is a first one, and sets it.
        if any(_any(values != 0) for values in result.values()):
            raise ValueError("the state lacks the previous gradient, from which Adan's next difference is taken")
        return {**result, "pre_grad": torch.zeros_like(state["exp_avg"]), "step": 0}
    keeps = swapped or previous == "previous_grad"
    if keeps and step == 0:
        raise ValueError(
            "the state is one after a restart, at whose next step its class takes the difference from the old "
            "gradient, and this one 0; restart after loading (restart_opt) instead of before saving"
        )
    return {**result, "pre_grad": PREVIOUS_GRADIENTS[previous] * state[previous], "step": step}


def _swapped(groups: Sequence[Mapping[str, Any]], states: Mapping[Hashable, Mapping[str, Any]]) -> bool:
    """Whether v and n are under each other's name, as in timm before 1.0.12. A negative element cannot be n's."""
    old = [values for values in states.values() if "pre_grad" in values and "step" not in values]
    negative_sq = any(_any(values["exp_avg_sq"] < 0) for values in old)
    negative_diff = any(_any(values["exp_avg_diff"] < 0) for values in old)
    if negative_sq and negative_diff:
        raise ValueError("neither exp_avg_sq nor exp_avg_diff can be the mean of squares: both have negative elements")
    no_clipping = not any("max_grad_norm" in group for group in groups)
    return bool(old) and (negative_sq or (no_clipping and not negative_diff))


def _any(which: Tensor) -> bool:
    return bool(local(which).any())
