"""Language modelling with Transformer-XL: one long text in columns, read segment by segment. No torch."""

from __future__ import annotations

from experiments import data
from experiments.schema.batches import key_of_batch
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.origin import origin
from experiments.schema.task_info import TaskInfo


def check(config: RunConfig) -> None:
    """Raise UserError unless the training text fills the columns with more than one token each, and a token sees at
    least itself."""
    if config.segments.long_length and not config.segments.long_memory:
        key = "segments.long_memory"
        raise UserError(
            f"{key}=0 ({origin(config, key)}): every token sees as many tokens, itself among them; at least 1"
        )
    columns, tokens = config.global_batch_size, config.data.train_size
    if tokens < 2 * columns:
        shown, near = key_of_batch(config, max(1, tokens // 2))
        raise UserError(
            f"{shown}: {tokens} training tokens of {config.data.name} are too few for {columns} sequences; did you "
            f"mean {near}?"
        )


INFO = TaskInfo(
    name="transformer_xl",
    implementation="experiments.tasks.transformer_xl:TransformerXLTask",
    missing=lambda config: data.missing(config.data),
    identity=lambda config: data.identity(config.data),
    data="text",
    reads=("segments", "model.drop", "data.vocabulary", "data.valid_size"),
    bounds={
        "segments.length": (1, None),
        "segments.memory": (0, None),
        "segments.long_length": (0, None),
        "segments.long_memory": (0, None),
        "segments.long_clamp": (0, None),
        "model.drop": (0.0, 1.0),
        "data.vocabulary": (2, None),
        "data.valid_size": (2, None),
    },
    check=check,
    sample="tokens",
    term="sequences",
)
