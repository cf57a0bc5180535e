"""Every Adan that is installed here, and why one that is known cannot run."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

import adan
from experiments.conformance.implementations import Implementation, NotRun, TorchAdan
from experiments.conformance.reference import DEFAULTS
from experiments.schema.errors import UserError


@dataclass(frozen=True)
class Variant:
    """Holds what `adan.Adan` may be asked for. One that `may_refuse` is tried on one parameter first."""

    options: Mapping[str, Any]
    may_refuse: bool = False
    expected: str = ""


IN_BFLOAT16 = (
    "keeps its states in bfloat16 because it is asked to (8 significant bits): it leaves the reference by their "
    "rounding, as expected"
)
OUR_VARIANTS = {
    "foreach": Variant({"foreach": True, "fused": False}),
    "single tensor": Variant({"foreach": False, "fused": False}),
    "fused": Variant({"fused": True}, may_refuse=True),
    "bf16 states": Variant({"fused": False, "state_dtype": torch.bfloat16}, may_refuse=True, expected=IN_BFLOAT16),
    "bf16 states, fused": Variant(
        {"fused": True, "state_dtype": torch.bfloat16}, may_refuse=True, expected=IN_BFLOAT16
    ),
}


def installed(authors: Path | None = None, device: str = "cpu") -> list[Implementation | NotRun]:
    """Every Adan there is to compare on `device`; `authors` is the path of the authors' adan.py.

    Raises:
        UserError: `authors` is no Python file with a class Adan.
    """
    return [*_ours(device), *_timm(), *_pytorch_optimizer(), *_authors(authors), *_optax(device)]


def _ours(device: str) -> list[Implementation | NotRun]:
    found: list[Implementation | NotRun] = []
    for kind, variant in OUR_VARIANTS.items():
        name = f"adan.Adan, {kind}"
        recipe = TorchAdan("from adan import Adan", "Adan", adan.Adan, _with(variant.options))
        refusals: dict[str, str] = {}
        if variant.may_refuse:
            refusals = {precision: _refusal(recipe, precision, device) for precision in ("float64", "float32")}
            if all(refusals.values()):
                found.append(NotRun(name, refusals["float32"]))
                continue
        trial = recipe.optimizer([torch.nn.Parameter(torch.ones(1, device=device))], DEFAULTS)
        version = f"{metadata.version('adan-reproduction')} ({getattr(trial, 'implementation', kind)})"
        lacks = {precision: reason for precision, reason in refusals.items() if reason}
        found.append(recipe.implementation(name, version, lacks, variant.expected))
    return found


def _refusal(recipe: TorchAdan, precision: str, device: str) -> str:
    """Why the optimizer does not step one parameter of this precision on `device`; empty where it does."""
    param = torch.nn.Parameter(torch.ones(3, dtype=getattr(torch, precision), device=device))
    param.grad = torch.ones_like(param)
    try:
        recipe.optimizer([param], DEFAULTS).step()
    except (TypeError, ValueError, RuntimeError, NotImplementedError, ImportError) as error:
        return str(error).splitlines()[0]
    return ""


def _timm() -> list[Implementation | NotRun]:
    from timm.optim import create_optimizer_v2, list_optimizers

    found: list[Implementation | NotRun] = []
    for name, form in (("adan", "prox"), ("adanw", "no_prox")):
        if name not in list_optimizers():
            found.append(NotRun(f"timm {name}", f"timm {metadata.version('timm')} has no optimizer of this name"))
            continue
        for foreach in (True, False):
            accepted = inspect.signature(type(create_optimizer_v2([torch.nn.Parameter(torch.ones(1))], opt=name)))
            clips = "max_grad_norm" in accepted.parameters

            def arguments(hyper, name=name, foreach=foreach, clips=clips):
                mapped = {key: hyper[key] for key in ("lr", "betas", "eps", "weight_decay")}
                clip = {"max_grad_norm": hyper["max_grad_norm"]} if clips else {}
                return {"opt": name, **mapped, **clip, "foreach": foreach}

            other = {"prox": "no_prox", "no_prox": "prox"}[form]
            lacks = {other: f"that is timm's {'adanw' if form == 'prox' else 'adan'}"}
            if not clips:
                lacks["clipping"] = "timm's Adan has no max_grad_norm"
            recipe = TorchAdan(
                "from timm.optim import create_optimizer_v2", "create_optimizer_v2", create_optimizer_v2, arguments
            )
            title = f"timm {name}, {'foreach' if foreach else 'single tensor'}"
            found.append(recipe.implementation(title, metadata.version("timm"), lacks))
    return found


def _pytorch_optimizer() -> list[Implementation | NotRun]:
    try:
        import pytorch_optimizer
    except ImportError:
        return [NotRun("pytorch_optimizer Adan", "pytorch_optimizer is not installed")]
    found: list[Implementation | NotRun] = []
    for foreach in (True, False):

        def arguments(hyper, foreach=foreach):
            mapped = _all_arguments(hyper)
            # Its `weight_decouple` chooses AdamW's form; without it the decay is proximal.
            mapped["weight_decouple"] = mapped.pop("no_prox")
            return mapped | {"foreach": foreach}

        recipe = TorchAdan("from pytorch_optimizer import Adan", "Adan", pytorch_optimizer.Adan, arguments)
        lacks = {} if hasattr(pytorch_optimizer.Adan, "restart_opt") else {"restart": "it has no restart_opt"}
        title = f"pytorch_optimizer Adan, {'foreach' if foreach else 'single tensor'}"
        found.append(recipe.implementation(title, metadata.version("pytorch_optimizer"), lacks))
    return found


def _authors(path: Path | None) -> list[Implementation | NotRun]:
    if path is None:
        return [NotRun("the authors' adan.py", "give its path: --authors adan.py (github.com/sail-sg/Adan)")]
    original = _load(path)
    version = f"adan.py {sha256(path.read_bytes()).hexdigest()[:10]}"
    found: list[Implementation | NotRun] = []
    for foreach in (True, False):
        recipe = TorchAdan(
            "from authors_adan import Adan  # the authors' adan.py, saved as authors_adan.py",
            "Adan",
            original,
            _with({"foreach": foreach}),
        )
        found.append(recipe.implementation(f"the authors', {'foreach' if foreach else 'single tensor'}", version))
    return [*found, NotRun("the authors', fused", "needs a GPU and the authors' CUDA extension `fused_adan`")]


def _load(path: Path) -> type[Optimizer]:
    spec = spec_from_file_location("authors_adan", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UserError(f"--authors {path}: no such Python file; give the path of the authors' adan.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "Adan"):
        raise UserError(f"--authors {path}: the file defines no class Adan")
    sys.modules["authors_adan"] = module  # so that the page's programs find it
    return module.Adan


def _optax(device: str) -> list[Implementation | NotRun]:
    try:
        from experiments.conformance import optax_adan
    except ImportError:
        return [NotRun("optax.adan", "optax is not installed (pip install optax jax)")]
    if device != "cpu":
        return [NotRun("optax.adan", "compared on the CPU only")]
    return [optax_adan.implementation()]


def _all_arguments(hyper: Mapping[str, Any]) -> dict[str, Any]:
    return {key: hyper[key] for key in DEFAULTS}


def _with(options: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The reference's arguments under their own names, and `options`."""
    return lambda hyper: {**_all_arguments(hyper), **options}
