"""Fine-tuning a pre-trained encoder on a task of GLUE. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.data import glue
from experiments.models.pretrained_folder import read_checkpoint, read_tokenizer
from experiments.schema.config import ModelConfig, RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.task_info import TaskInfo

# Tasks of GLUE, and texts that hold their development set: SST-2 took its sentences from Rotten Tomatoes (Socher et al.
# 2013).
OVERLAPPING = {"SST-2": "rotten_tomatoes"}
# Arguments of a model that may differ between a parent and its child: none changes the shape of a weight.
FREE = {"model_type", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"}


def accept(config: RunConfig, record: Mapping[str, Any]) -> None:
    """Raise UserError for a parent that read the development set, or has another architecture."""
    run, theirs = record["run"], record["config"]
    overlapping = OVERLAPPING.get(config.glue.name)
    if overlapping and overlapping in record["data"].get("source", ""):
        raise UserError(
            f"parent={config.parent} (command line): {run} read {record['data']['source']}, which holds the "
            f"development set of {config.glue.name}; give a parent that did not"
        )
    ours = config.model.arguments
    for key in sorted((ours.keys() | theirs["model"]["arguments"].keys()) - FREE):
        there, here = theirs["model"]["arguments"].get(key), ours.get(key)
        if there != here:
            raise UserError(
                f"parent={config.parent} (command line): {run} has model.arguments.{key}={there}, this run "
                f"(scale={config.scale}) {here}; give the scale and the arguments that the parent had"
            )


def begin_from_checkpoint(config: RunConfig, folder: Path) -> None:
    """Take the architecture, the digest of the weights and the tokenizer of a folder that `save_pretrained` wrote; the
    dropouts stay the recipe's. Raises UserError for arguments of the model that the folder decides."""
    arguments, weights = read_checkpoint(folder, config.init or "")
    given = {text.partition("=")[0].removeprefix("model.arguments.") for text in config.overrides}
    dropouts = FREE - {"model_type"} if "hidden_dropout_prob" in arguments else set()  # BERT's kin have all of them
    for key in sorted(given & config.model.arguments.keys()):
        if key not in dropouts:
            raise UserError(
                f"model.arguments.{key} (command line): init={config.init} says what its model is"
                f"{suggestion(key, sorted(dropouts))}"
            )
    arguments |= {key: value for key, value in config.model.arguments.items() if key in dropouts}
    config.model = ModelConfig(name="AutoModelForSequenceClassification", arguments=arguments)
    config.inherited.weights = weights
    if not config.text.tokenizer:
        _, config.inherited.tokenizer = read_tokenizer(str(folder))


INFO = TaskInfo(
    name="glue",
    implementation="experiments.tasks.glue:Glue",
    missing=lambda config: glue.missing(config.data, config.glue.name),
    identity=lambda config: glue.identity(config.data, config.glue.name),
    reads=("glue", "text.tokenizer", "text.sequence_length", "data.num_classes"),
    bounds={"text.sequence_length": (4, None), "data.num_classes": (1, None)},
    sample="texts",
    parents=("masked_language_modelling",),
    accept=accept,
    begin_from_checkpoint=begin_from_checkpoint,
)
