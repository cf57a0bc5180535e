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

    Raises UserError when the checkpoint is gone, or is not of the weights that the parent's record names.
    """
    state, _ = checkpoint.load_newest(Path(config.parent or "") / "checkpoints")
    if state is None:
        raise UserError(f"parent={config.parent}: its checkpoints are gone")
    if checkpoint.state_digest(state["module"]) != config.inherited.weights:
        raise UserError(
            f"parent={config.parent}: its newest checkpoint has not the weights that its record names; "
            "restore the checkpoint, or pre-train again with force=true"
        )
    return state["module"], state["task"]
