"""Models by name: timm's, with the few arguments that timm does not have, the agent of PPO, language models, and
transformers' readers of documents."""

from __future__ import annotations

import timm
from torch import nn

from experiments.models import actor_critic, awd_lstm, text_encoders, transformer_xl
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError, suggestion


def build(model: ModelConfig, data: DataConfig) -> nn.Module:
    """Build `model.name` with timm for the classes, channels and image size of `data`, untrained.

    `model.arguments` go to timm's constructor (`embed_dim`, `depths`, ...), save `small_input`, which is ours:
    true replaces the max-pooling after a ResNet's first convolution by the identity, for images of about 32
    pixels. The image size is passed to families that are built for one size (ViT, Swin). Works under
    `torch.device("meta")`.

    The agent of PPO, `actor_critic`, takes all its sizes from `model.arguments`; the language models `awd_lstm`
    and `transformer_xl` all but the vocabulary (and `transformer_xl` its `drop`); transformers' models, which are
    named as there, all but the number of classes.

    Raises UserError for a name that timm does not know or an argument that the model does not take.
    """
    if model.name == "actor_critic":
        return actor_critic.build(model.arguments)
    if model.name in text_encoders.NAMES:
        return text_encoders.build(model.name, model.arguments, data.num_classes)
    if model.name == "awd_lstm":
        return awd_lstm.build(model.arguments, data.vocabulary)
    if model.name == "transformer_xl":
        return transformer_xl.build(model.arguments, data.vocabulary, model.drop)
    if not timm.is_model(model.name):
        near = suggestion(model.name, timm.list_models()) if model.name else ""
        raise UserError(f"model.name={model.name!r} is no model of timm {timm.__version__}{near}")
    arguments = {key: _as_tuple(value) for key, value in model.arguments.items()}
    small_input = arguments.pop("small_input", False)
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
    return module


def _as_tuple(value):
    """Lists from YAML as the tuples that constructors expect."""
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list) else value
