"""Image classification that begins from a file of weights (`init=`) or from another run's (`parent=`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.models.concat_head import ConcatHead
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.tasks.image_classification import ImageClassification
from experiments.training.task import Part


class ImageFineTuning(ImageClassification):
    """The `Task` of both stages: the new head on a frozen body, then all layers."""

    def __init__(self, config: RunConfig, part: Part) -> None:
        """As `ImageClassification`; raises UserError also for weights that cannot be read or do not fit."""
        super().__init__(config, part)
        if not isinstance(self.module, ConcatHead):
            raise UserError(
                f"model.name={config.model.name}: {config.task} tells a body from its head; did you mean "
                f"{config.model.name}_concat_head?"
            )
        if config.init:
            try:
                self.module.load_body(_read(Path(config.init)))
            except UserError as error:
                raise UserError(f"init={config.init}: {error}") from error

    def adopt(self, module_state: dict[str, Tensor], task_state: dict[str, Any]) -> None:
        """Take all weights and running statistics of the first stage."""
        self.module.load_state_dict(module_state)


def _read(file: Path) -> dict[str, Tensor]:
    """A state dict. Raises UserError for a file that holds none."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and safetensors have errors of their own
        raise UserError(f"the file cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError("the file holds no state dict")
    return found
