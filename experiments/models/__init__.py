"""Models by name: timm's, those of CIFAR, the agent of PPO, language models, and transformers' readers of documents.

Importing this package imports no torch; the module of a model is imported when the model is named, since timm alone
takes three seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.models import text_encoders

if TYPE_CHECKING:
    from torch import nn

    from experiments.schema.config import DataConfig, ModelConfig


def build(model: ModelConfig, data: DataConfig) -> nn.Module:
    """Build `model.name`, untrained; a name that is not one of ours is one of timm's (`experiments.models.images`).

    The agent of PPO, `actor_critic`, takes all its sizes from `model.arguments`; the language models `awd_lstm`
    and `transformer_xl` all but the vocabulary (and `transformer_xl` its `drop`); transformers' models, which are
    named as there, all but the number of classes. Works under `torch.device("meta")`.

    Raises UserError for a name that nobody knows or an argument that the model does not take.
    """
    if model.name == "actor_critic":
        from experiments.models import actor_critic

        return actor_critic.build(model.arguments)
    if model.name in text_encoders.NAMES:
        return text_encoders.build(model.name, model.arguments, data.num_classes)
    if model.name == "awd_lstm":
        from experiments.models import awd_lstm

        return awd_lstm.build(model.arguments, data.vocabulary)
    if model.name == "transformer_xl":
        from experiments.models import transformer_xl

        return transformer_xl.build(model.arguments, data.vocabulary, model.drop)
    if model.name.startswith("cifar_"):
        from experiments.models import cifar

        return cifar.build(model, data)
    if model.name.endswith("_concat_head"):
        from experiments.models import concat_head

        return concat_head.build(model, data)
    from experiments.models import images

    return images.build(model, data)
