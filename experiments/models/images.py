"""timm's models, with the few arguments that timm does not have."""

from __future__ import annotations

import timm
from torch import nn

from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError, suggestion


def build(model: ModelConfig, data: DataConfig) -> nn.Module:
    """Build `model.name` for the classes, channels and image size of `data`, untrained.

    `model.arguments` go to timm's constructor (`embed_dim`, `depths`, ...), save two of ours for images of about 32
    pixels: `small_input: true` replaces the max-pooling after a ResNet's first convolution by the identity, and
    `small_stem: true` that convolution, of 7 x 7 and stride 2, by one of 3 x 3 and stride 1. The image size is
    passed to families that are built for one size (ViT, Swin). Works under `torch.device("meta")`.

    Raises UserError for a name that timm does not know or an argument that the model does not take.
    """
    if not timm.is_model(model.name):
        near = suggestion(model.name, timm.list_models()) if model.name else ""
        raise UserError(f"model.name={model.name!r} is no model of timm {timm.__version__}{near}")
    arguments = {key: _as_tuple(value) for key, value in model.arguments.items()}
    small_input, small_stem = (arguments.pop(key, False) for key in ("small_input", "small_stem"))
    default = timm.get_pretrained_cfg(model.name)
    if default is not None and default.fixed_input_size:
        arguments.setdefault("img_size", data.image_size)
    try:
        module = timm.create_model(
            model.name,
            num_classes=data.num_classes,
            in_chans=data.channels,
            drop_path_rate=model.drop_path,
            drop_rate=model.drop,
            **arguments,
        )
    except (TypeError, AssertionError, ValueError) as error:
        raise UserError(f"model.arguments={model.arguments} do not suit {model.name}: {error}") from error
    if small_input:
        if not isinstance(getattr(module, "maxpool", None), nn.MaxPool2d):
            raise UserError(f"model.arguments.small_input=true: {model.name} has no max-pooling to leave out")
        module.maxpool = nn.Identity()
    if small_stem:
        if not isinstance(stem := getattr(module, "conv1", None), nn.Conv2d):
            raise UserError(f"model.arguments.small_stem=true: {model.name} has no first convolution to replace")
        module.conv1 = nn.Conv2d(data.channels, stem.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")  # as timm's ResNet draws it
    return module


def _as_tuple(value):
    """Lists from YAML as the tuples that constructors expect."""
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value
