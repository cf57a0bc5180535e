"""Muon for the hidden matrices of a network and AdamW for everything else, as one optimizer.

Muon's authors (kellerjordan.github.io/posts/muon) step neither vectors nor embeddings nor the output layer by Muon, and
`torch.optim.Muon` takes matrices only: kernels of convolutions, which the authors flatten, go to AdamW here. Matrices
carry no sign of being an embedding or a head, so they are told by name; the names are a hyper-parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import AdamW
from torch.optim.optimizer import Optimizer

from experiments.optimizers.hidden_matrices import is_hidden_matrix
from experiments.schema.errors import UserError


class MuonWithAdamW(Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` behind one list of groups, one state and one `step`.

    Groups are those given, each split into its hidden matrices (Muon) and its other parameters (AdamW); Muon's come
    first. The rate of every group is Muon's: a schedule sets one number, and AdamW steps with `group["lr"]` times
    `adamw_lr_ratio`, so that both rise and fall together. `weight_decay` is decoupled in both, times the rate of each.

    `adjust_lr` fits Muon's rate to the shape: `match_rms_adamw` (0.2 sqrt(larger dimension), arXiv 2502.16982), under
    which one rate suits both parts, or `original` (sqrt(rows / columns), at least 1). `betas` and `eps` are AdamW's.

    Raises UserError where the installed torch has no Muon, ValueError for values that a part refuses.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        adjust_lr: str,
        betas: tuple[float, float],
        eps: float,
        adamw_lr_ratio: float,
        adamw_names: str,
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise UserError(
                f"optim=muon: torch {torch.__version__} has no torch.optim.Muon, which came with 2.9; "
                "install a newer torch or choose optim=adamw"
            )
        if not 0.0 <= adamw_lr_ratio < float("inf"):
            raise ValueError(f"adamw_lr_ratio must be at least 0 and finite, not {adamw_lr_ratio}")
        hidden, others = _split(groups, adamw_names)
        for group in hidden:
            group["lr_ratio"] = 1.0
        for group in others:
            group["lr_ratio"] = adamw_lr_ratio
        shared: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self.parts: list[Optimizer] = []
        if hidden:
            muon = torch.optim.Muon(
                hidden, momentum=momentum, nesterov=nesterov, ns_steps=ns_steps, adjust_lr_fn=adjust_lr, **shared
            )
            self.parts.append(muon)
        if others:
            self.parts.append(AdamW(others, betas=betas, eps=eps, **shared))
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let the parts work on this object's groups and state, whichever they are after a load."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step both parts, each at its rate; return what `closure`, if any, returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            rates = [group["lr"] for group in part.param_groups]
            try:
                for group, rate in zip(part.param_groups, rates, strict=True):
                    group["lr"] = rate * group["lr_ratio"]
                part.step()
            finally:
                for group, rate in zip(part.param_groups, rates, strict=True):
                    group["lr"] = rate
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only at construction: a late group would change the order in which a checkpoint counts parameters."""
        if len(getattr(self, "param_groups", ())) == sum(len(part.param_groups) for part in self.parts):
            raise RuntimeError("Muon takes all its parameters at construction")
        super().add_param_group(param_group)


def _split(groups: Sequence[dict[str, Any]], adamw_names: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Each group as one of hidden matrices and one of the others, without empty ones. `names` tell which is which."""
    hidden: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for group in groups:
        params = list(group["params"])
        members = list(zip(params, group.get("names") or [""] * len(params), strict=True))
        for side, wanted in ((hidden, True), (others, False)):
            chosen = [(p, name) for p, name in members if is_hidden_matrix(tuple(p.shape), name, adamw_names) is wanted]
            if chosen:
                side.append({**group, "params": [p for p, _ in chosen], "names": [name for _, name in chosen]})
    return hidden, others
