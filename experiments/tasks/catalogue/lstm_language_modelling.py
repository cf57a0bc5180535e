"""Language modelling with AWD-LSTM: one long text in columns, cut into pieces of random length. No torch."""

from __future__ import annotations

from experiments import data
from experiments.schema import bptt
from experiments.schema.config import RunConfig
from experiments.schema.epochs import Epochs
from experiments.schema.task_info import TaskInfo


def epochs(config: RunConfig) -> Epochs:
    """Count as many updates as each epoch is cut into pieces."""
    return Epochs(tuple(len(bptt.pieces(config, epoch).ends) for epoch in range(config.total_epochs)))


INFO = TaskInfo(
    name="lstm_language_modelling",
    implementation="experiments.tasks.lstm_language_modelling:LSTMLanguageModelling",
    missing=lambda config: data.missing(config.data),
    identity=lambda config: data.identity(config.data),
    data="text",
    reads=("bptt", "loss.activation", "loss.slowness", "data.vocabulary", "data.valid_size"),
    bounds={
        "bptt.length": (1, None),
        "bptt.half_probability": (0.0, 1.0),
        "bptt.deviation": (0.0, None),
        "bptt.shortest": (1, None),
        "loss.activation": (0.0, None),
        "loss.slowness": (0.0, None),
        "data.vocabulary": (2, None),
        "data.valid_size": (2, None),
    },
    epochs=epochs,
    samples_per_epoch=lambda config: bptt.targets_per_epoch(config) * config.global_batch_size,
    sample="targets in each column",
    term="targets",
    replayable=True,
)
