"""The kinds of task that come with this suite, by name. Importing this package imports no torch."""

from __future__ import annotations

from experiments.schema.task_info import TaskInfo
from experiments.tasks.catalogue import (
    glue,
    image_classification,
    lstm_language_modelling,
    masked_language_modelling,
    ppo,
    transformer_xl,
)

CATALOGUE: dict[str, TaskInfo] = {
    kind.INFO.name: kind.INFO
    for kind in (
        image_classification,
        ppo,
        masked_language_modelling,
        glue,
        lstm_language_modelling,
        transformer_xl,
    )
}
