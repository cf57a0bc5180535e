"""One function per optimizer: parameter groups and hyper-parameters in, the library's object out.

Each imports its library when called, so that names and facts cost nothing. Arguments that are not
hyper-parameters but settle which update runs (decoupling, rectification) are fixed here; the reasons are in
`catalogue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.optimizers.registry import info
from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from torch.optim import Optimizer

Groups = list[dict[str, Any]]


def adan(groups: Groups, *, state_dtype: str, **settings: Any) -> Optimizer:
    import torch

    from adan import Adan

    dtypes = {"float32": None, "bfloat16": torch.bfloat16}
    if state_dtype not in dtypes:
        raise UserError(f"optim.state_dtype={state_dtype}: no such type of states{suggestion(state_dtype, dtypes)}")
    return Adan(groups, state_dtype=dtypes[state_dtype], **settings)


def adamw(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import AdamW

    from experiments.optimizers.fused import in_one_pass

    return in_one_pass(AdamW, groups, settings)


def adam(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import Adam

    from experiments.optimizers.fused import in_one_pass

    return in_one_pass(Adam, groups, settings)


def sgd(groups: Groups, *, asgd_after: int, asgd_metric: str, asgd_average: bool, **settings: Any) -> Optimizer:
    """torch's; with `asgd_after`, one that switches to averaged SGD."""
    from torch.optim import SGD

    from experiments.optimizers.fused import in_one_pass_on_gpu

    if not asgd_after:
        return in_one_pass_on_gpu(SGD, groups, settings)
    from experiments.optimizers.sgd_then_asgd import SGDThenASGD

    return SGDThenASGD(groups, metric=asgd_metric, patience=asgd_after, evaluate_average=asgd_average, **settings)


def sam(
    groups: Groups, *, base: str, base_settings: dict[str, Any], rho: float, adaptive: bool, **shared: Any
) -> Optimizer:
    """SAM around `base`; `shared` (lr, weight_decay) belongs to the base."""
    from experiments.optimizers.sam import SAM

    if base == "sam":
        raise UserError("optim.base=sam: the base of SAM must be another optimizer")
    entry = info(base)
    settings = entry.complete({**shared, **base_settings}, origin="optim.base_settings")
    optimizer = entry.build(groups, **settings)
    optimizer.registry_name = base  # amsgrad, for one, is of the class Adam
    return SAM(optimizer, rho=rho, adaptive=adaptive)


def lamb(groups: Groups, *, max_grad_norm: float, **settings: Any) -> Optimizer:
    from timm.optim.lamb import Lamb

    return Lamb(groups, max_grad_norm=max_grad_norm or None, **settings)


def nadam(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import NAdam

    return NAdam(groups, **settings)


def adabound(groups: Groups, *, amsbound: bool, **settings: Any) -> Optimizer:
    from pytorch_optimizer import AdaBound

    return AdaBound(groups, ams_bound=amsbound, weight_decouple=False, foreach=True, **settings)


def radam(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import RAdam

    return RAdam(groups, **settings)


def padam(groups: Groups, **settings: Any) -> Optimizer:
    from experiments.optimizers.padam import Padam

    return Padam(groups, **settings)


def adabelief(groups: Groups, *, decoupled_weight_decay: bool, **settings: Any) -> Optimizer:
    from timm.optim.adabelief import AdaBelief

    return AdaBelief(groups, decoupled_decay=decoupled_weight_decay, **settings)


def adagrad(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import Adagrad

    return Adagrad(groups, **settings)


def adadelta(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import Adadelta

    return Adadelta(groups, **settings)


def rmsprop(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import RMSprop

    return RMSprop(groups, **settings)


def adafactor(groups: Groups, *, eps1: float, eps2: float, clip_threshold: float, **settings: Any) -> Optimizer:
    from torch.optim import Adafactor

    return Adafactor(groups, eps=(eps1, eps2), d=clip_threshold, **settings)


def amsgrad(groups: Groups, *, bias_correction: bool, **settings: Any) -> Optimizer:
    """torch's, or without bias correction the paper's, which is Padam at p = 1/2."""
    if not bias_correction:
        return padam(groups, partial=0.5, bias_correction=False, **settings)
    from torch.optim import Adam

    from experiments.optimizers.fused import in_one_pass_on_gpu

    return in_one_pass_on_gpu(Adam, groups, {"amsgrad": True, **settings})


def amsgradw(groups: Groups, **settings: Any) -> Optimizer:
    from torch.optim import AdamW

    from experiments.optimizers.fused import in_one_pass_on_gpu

    return in_one_pass_on_gpu(AdamW, groups, {"amsgrad": True, **settings})


def nadamw(groups: Groups, **settings: Any) -> Optimizer:
    from timm.optim.nadamw import NAdamW

    return NAdamW(groups, **settings)


def adamod(groups: Groups, **settings: Any) -> Optimizer:
    from pytorch_optimizer import AdaMod

    return AdaMod(groups, weight_decouple=True, foreach=True, **settings)


def yogi(groups: Groups, **settings: Any) -> Optimizer:
    from pytorch_optimizer import Yogi

    return Yogi(groups, weight_decouple=False, foreach=True, **settings)


def msvag(groups: Groups, **settings: Any) -> Optimizer:
    """The paper's; with `second_beta`, AdaBelief's copy."""
    from experiments.optimizers.msvag import MSVAG

    return MSVAG(groups, **settings)


def fromage(groups: Groups, **settings: Any) -> Optimizer:
    from experiments.optimizers.fromage import Fromage

    return Fromage(groups, **settings)


def lars(groups: Groups, **settings: Any) -> Optimizer:
    from timm.optim.lars import Lars

    from experiments.optimizers.fused import all_on

    # With the rate in a tensor, timm would step tensor by tensor and read it on the host.
    return Lars(groups, foreach=True if all_on("cuda", groups) else None, **settings)


def lion(groups: Groups, **settings: Any) -> Optimizer:
    from timm.optim.lion import Lion

    return Lion(groups, **settings)


def muon(groups: Groups, **settings: Any) -> Optimizer:
    from experiments.optimizers.muon import MuonWithAdamW

    return MuonWithAdamW(groups, **settings)
