"""What a run takes from others, found before any work is done: the weights of `parent=` or `init=`, a tokenizer.

Only digests are part of the run's identity, so that two parents give two runs wherever they lie.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.launch.pretrained_folder import read_checkpoint, read_tokenizer
from experiments.record.parent import FINE_TUNED, PRE_TRAINED, Parent, find_parent, newest_finished
from experiments.schema.config import ModelConfig, RunConfig
from experiments.schema.errors import UserError, suggestion

# Tasks of GLUE, and texts that hold their development set: SST-2 took its sentences from Rotten Tomatoes (Socher et al.
# 2013).
OVERLAPPING = {"SST-2": "rotten_tomatoes"}
# Arguments of a model that may differ between a parent and its child: none changes the shape of a weight.
FREE = {"model_type", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"}


def inherit(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """`configs` with `inherited` filled in, places made absolute, and with the architecture of `init`.

    Where weights do not come from pre-training by the same optimizer at the same scale, `overrides` say so. At mini
    scale a fine-tuning run without `parent` and `init` takes the newest finished run of `bert_pretrain` by the same
    optimizer. Raises UserError when weights are missing, unfinished, or of another architecture.
    """
    return [_inherit(config) for config in configs]


def _inherit(config: RunConfig) -> RunConfig:
    config = copy.deepcopy(config)
    if config.task != FINE_TUNED:
        for key in ("parent", "init"):
            if getattr(config, key):
                raise UserError(f"{key}={getattr(config, key)} (command line): {config.exp} begins with random weights")
    if config.parent and config.init:
        raise UserError(f"parent={config.parent} and init={config.init} (command line): give one of them")
    if config.text.tokenizer:
        config.text.tokenizer, config.inherited.tokenizer = read_tokenizer(config.text.tokenizer)
    if config.init:
        _from_checkpoint(config, Path(config.init).expanduser().resolve())
    elif config.parent:
        _from_parent(config, find_parent(config.parent))
    elif config.task == FINE_TUNED and config.scale == "mini":
        parent = newest_finished(exp="bert_pretrain", scale="mini", optim=config.optim["name"])
        if parent is not None:
            print(f"parent={parent.run}: the newest finished bert_pretrain by {config.optim['name']}", file=sys.stderr)
            _from_parent(config, parent)
    return config


def _from_parent(config: RunConfig, parent: Parent) -> None:
    record, theirs = parent.record, parent.record["config"]
    if theirs["task"] != PRE_TRAINED:
        raise UserError(f"parent={config.parent} (command line): {parent.run} pre-trained no model for {config.exp}")
    overlapping = OVERLAPPING.get(config.glue.name)
    if overlapping and overlapping in record["data"].get("source", ""):
        raise UserError(
            f"parent={config.parent} (command line): {parent.run} read {record['data']['source']}, which holds the "
            f"development set of {config.glue.name}; give a parent that did not"
        )
    ours = config.model.arguments
    for key in sorted((ours.keys() | theirs["model"]["arguments"].keys()) - FREE):
        there, here = theirs["model"]["arguments"].get(key), ours.get(key)
        if there != here:
            raise UserError(
                f"parent={config.parent} (command line): {parent.run} has model.arguments.{key}={there}, this run "
                f"(scale={config.scale}) {here}; give the scale and the arguments that the parent had"
            )
    config.parent = str(parent.directory.path.resolve())
    config.inherited.source, config.inherited.weights = parent.run, record["parameters_digest"]
    if record["overrides"] or (record["scale"], record["optim"]) != (config.scale, config.optim["name"]):
        config.overrides.append(f"parent={parent.run}")


def _from_checkpoint(config: RunConfig, folder: Path) -> None:
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
    config.init = str(folder)
    config.inherited.source, config.inherited.weights = folder.name, weights
    if not config.text.tokenizer:
        _, config.inherited.tokenizer = read_tokenizer(str(folder))
    config.overrides.append(f"init={folder.name}")
