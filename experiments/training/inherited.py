"""The weights that a fine-tuning run begins with, checked against the digest that is part of its identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.training import checkpoint


def parent_state(config: RunConfig) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The final module state of the run `config.parent`, and the state of its task.

    Raises UserError when no checkpoint of the parent can be used that has the weights its record names.
    """
    place = f"parent={config.parent}"

    def require(state: dict[str, Any]) -> None:
        if checkpoint.state_digest(state["module"]) != config.inherited.weights:
            raise checkpoint.Unusable("it has not the weights that the record of its run names")
        state["task"]

    state, refused = checkpoint.load_newest(Path(config.parent or "") / "checkpoints", use=require)
    if state is not None:
        return state["module"], state["task"]
    if not refused:
        raise UserError(f"{place}: its checkpoints are gone")
    path, reason = refused[0]
    raise UserError(
        f"{place}: its newest checkpoint cannot be used ({path.name}: {reason}); restore it, or pre-train again with "
        "force=true"
    )
