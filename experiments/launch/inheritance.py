"""Find what a run takes from others before any work is done: the weights of `parent=` or `init=`, a tokenizer.

Only digests are part of the run's identity, so that two parents give two runs wherever they lie.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.models.pretrained_folder import read_tokenizer
from experiments.record.parent import Parent, find_parent, newest_finished
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError
from experiments.schema.scales import PAPER
from experiments.schema.task_info import info


def inherit(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Return `configs` with `inherited` filled in, places made absolute, and with the architecture of `init`.

    Where weights do not come from a parent by the same optimizer at the same scale, `overrides` say so. Below the
    paper's scale a run that needs a parent and was given none takes the newest finished one by the same optimizer.
    Raises UserError when weights are missing, unfinished, or not what the task accepts.
    """
    return [_inherit(config) for config in configs]


def _inherit(config: RunConfig) -> RunConfig:
    config, task = copy.deepcopy(config), info(config.task)
    for key, possible in (("parent", task.parents), ("init", task.begin_from_checkpoint)):
        if getattr(config, key) and not possible:
            raise UserError(f"{key}={getattr(config, key)} (command line): {config.exp} begins with random weights")
    if config.parent and config.init:
        raise UserError(f"parent={config.parent} and init={config.init} (command line): give one of them")
    if config.text.tokenizer:
        config.text.tokenizer, config.inherited.tokenizer = read_tokenizer(config.text.tokenizer)
    if config.init and task.begin_from_checkpoint is not None:
        folder = Path(config.init).expanduser().resolve()
        task.begin_from_checkpoint(config, folder)
        config.init, config.inherited.source = str(folder), folder.name
        config.overrides.append(f"init={folder.name}")
    elif config.parent:
        _begin_from_parent(config, find_parent(config.parent, task.parents))
    elif task.parents and config.scale != PAPER:
        parent = newest_finished(task.parents, scale=config.scale, optim=config.optim["name"])
        if parent is not None:
            made = f"{parent.record['exp']} by {config.optim['name']}"
            print(f"parent={parent.run}: the newest finished {made}", file=sys.stderr)
            _begin_from_parent(config, parent)
    return config


def _begin_from_parent(config: RunConfig, parent: Parent) -> None:
    record, task = parent.record, info(config.task)
    if record["config"]["task"] not in task.parents:
        raise UserError(f"parent={config.parent} (command line): {parent.run} pre-trained no model for {config.exp}")
    if task.accept is not None:
        task.accept(config, record)
    config.parent = str(parent.directory.path.resolve())
    config.inherited.source, config.inherited.weights = parent.run, record["parameters_digest"]
    if record["overrides"] or (record["scale"], record["optim"]) != (config.scale, config.optim["name"]):
        config.overrides.append(f"parent={parent.run}")
