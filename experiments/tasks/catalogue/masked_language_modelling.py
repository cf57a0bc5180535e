"""Pre-training by masked language modelling (BERT, RoBERTa). No torch."""

from __future__ import annotations

from experiments.data.subwords import documents
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.origin import origin
from experiments.schema.task_info import TaskInfo


def check(config: RunConfig) -> None:
    """Raise UserError unless some words are targets, and no more of them are kept or exchanged than there are."""
    text = config.text
    if not text.mask_probability:
        key = "text.mask_probability"
        raise UserError(f"{key}=0 ({origin(config, key)}): no word would be a target; did you mean 0.15?")
    if text.leave_unmasked + text.random_token > 1:
        key = "text.leave_unmasked"
        raise UserError(
            f"{key}={text.leave_unmasked} ({origin(config, key)}) and text.random_token={text.random_token}: together "
            "more than all targets; did you mean 0.1 and 0.1?"
        )


INFO = TaskInfo(
    name="masked_language_modelling",
    implementation="experiments.tasks.masked_language_modelling:MaskedLanguageModelling",
    missing=lambda config: documents.missing(config.data),
    identity=lambda config: documents.identity(config.data),
    reads=("text",),
    bounds={
        "text.sequence_length": (4, None),
        "text.held_out_every": (2, None),
        "text.mask_probability": (0.0, 1.0),
        "text.leave_unmasked": (0.0, 1.0),
        "text.random_token": (0.0, 1.0),
    },
    check=check,
    sample="sequences",
)
