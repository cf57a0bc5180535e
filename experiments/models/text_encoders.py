"""Transformers that read documents, by the names of their classes in the library `transformers`, untrained.

`RobertaForMaskedLM` is for pre-training; `AutoModelForSequenceClassification` is any classifier of the library, whose
kind is `model.arguments.model_type`. All other arguments are those of the kind's configuration class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.schema.errors import UserError, suggestion

if TYPE_CHECKING:
    from torch import nn

PRE_TRAINED = "RobertaForMaskedLM"
CLASSIFIER = "AutoModelForSequenceClassification"
NAMES = (PRE_TRAINED, CLASSIFIER)


def build(name: str, arguments: dict[str, Any], outputs: int) -> nn.Module:
    """The model `name`; `outputs` are a classifier's classes, 1 for a regression. Works under `torch.device("meta")`.

    Raises UserError when transformers is not installed, and for arguments that the configuration does not have or that
    make no model.
    """
    transformers = library()
    try:
        if name == PRE_TRAINED:
            from experiments.models.roberta import RobertaAtTargets

            return RobertaAtTargets(configuration({"model_type": "roberta", **arguments}))
        # Not strictly: the file of a checkpoint folder may have keys of other versions of the library.
        config = configuration({**arguments, "num_labels": outputs}, strict=False)
        return transformers.AutoModelForSequenceClassification.from_config(config)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"model.arguments={arguments} do not suit {name}: {error}") from error


def library() -> Any:
    """The package transformers, which then says nothing but errors. Raises UserError when it is not installed."""
    try:
        import transformers
    except ImportError:
        raise UserError("this model needs the package transformers: pip install '.[language]'") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def configuration(arguments: dict[str, Any], strict: bool = True) -> Any:
    """transformers' configuration of the kind `model_type`, which would take any argument: UserError, where `strict`,
    for one that it does not have."""
    transformers = library()
    kinds = transformers.CONFIG_MAPPING
    given = dict(arguments)
    kind = given.pop("model_type", None)
    if kind not in kinds:
        raise UserError(f"model.arguments.model_type={kind}: transformers has no such kind of model")
    known = {*kinds[kind]().to_dict(), "num_labels"}
    for key in given if strict else ():
        if key not in known:
            raise UserError(f"model.arguments.{key}: a {kind} model has no such argument{suggestion(key, known)}")
    return transformers.AutoConfig.for_model(kind, **given)
