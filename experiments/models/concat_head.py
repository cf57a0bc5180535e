"""fast.ai's head for fine-tuning (fastai 0.7, old/fastai/conv_learner.py) on the body of one of timm's ResNets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from experiments.models import images
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError

SUFFIX = "_concat_head"
HIDDEN = 512


class ConcatHead(nn.Module):
    """`body`, a ResNet up to its last feature map, and `head`: maximum and mean over all positions, side by side, batch
    norm, dropout 0.25, a hidden layer of 512 with ReLU, batch norm, dropout 0.5, classes.

    With `frozen_body` the body's parameters get no gradient and its batch norms use, and keep, their running
    statistics, also in training.
    """

    def __init__(self, body: nn.Module, features: int, num_classes: int, frozen_body: bool = False) -> None:
        super().__init__()
        self.body, self.frozen_body = body, frozen_body
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * features),
            nn.Dropout(0.25),
            nn.Linear(2 * features, HIDDEN),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(HIDDEN),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, num_classes),
        )
        for layer in self.head:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        if frozen_body:
            self.body.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, height, width]."""
        found = self.body(pixels)
        return self.head(torch.cat([found.amax((2, 3)), found.mean((2, 3))], dim=1))

    def train(self, mode: bool = True) -> ConcatHead:
        """Set the mode of all but a frozen body, which stays in that of evaluation."""
        super().train(mode)
        if self.frozen_body:
            self.body.eval()
        return self

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Three layers for `optim.layer_decay`, in timm's form: fast.ai cuts a ResNet before its third stage."""
        return {"stem to stage 2": r"^body\.(?:conv1|bn1|layer1|layer2)", "stages 3, 4": r"^body\.", "head": r"^head\."}

    def load_body(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a whole ResNet, torchvision's or timm's (they have the same names), but for its last
        layer. Raises UserError where they do not fit the body."""
        kept = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
        try:
            self.body.load_state_dict(kept)
        except RuntimeError as error:
            raise UserError(f"the weights do not fit this ResNet: {str(error).splitlines()[1].strip()}") from error


def build(model: ModelConfig, data: DataConfig) -> nn.Module:
    """Build `<ResNet of timm>_concat_head`. `model.arguments` are timm's and `frozen_body`.

    Raises UserError for a name that is no ResNet of timm, or an argument that it does not take.
    """
    arguments: dict[str, Any] = dict(model.arguments)
    frozen = bool(arguments.pop("frozen_body", False))
    body = images.build(dataclasses.replace(model, name=model.name.removesuffix(SUFFIX), arguments=arguments), data)
    if not hasattr(body, "layer4") or not hasattr(body, "reset_classifier"):
        raise UserError(f"model.name={model.name!r}: the body must be one of timm's ResNets, such as resnet50{SUFFIX}")
    features = body.num_features
    body.reset_classifier(0, global_pool="")  # type: ignore[operator]
    return ConcatHead(body, int(features), data.num_classes, frozen)  # type: ignore[arg-type]
