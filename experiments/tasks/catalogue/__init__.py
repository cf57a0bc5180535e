"""The kinds of task that come with this suite, by name. Importing this package imports no torch."""

from __future__ import annotations

from experiments.schema.task_info import TaskInfo
from experiments.tasks.catalogue import (
    glue,
    image_classification,
    image_fine_tuning,
    lstm_language_modelling,
    masked_language_modelling,
    ppo,
    transformer_xl,
)

CATALOGUE: dict[str, TaskInfo] = {
    kind.name: kind
    for kind in (
        image_classification.INFO,
        image_fine_tuning.HEAD,
        image_fine_tuning.WHOLE,
        ppo.INFO,
        masked_language_modelling.INFO,
        glue.INFO,
        lstm_language_modelling.INFO,
        transformer_xl.INFO,
    )
}
