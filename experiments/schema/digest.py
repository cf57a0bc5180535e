"""Names of things by their content: a configuration, or any tree of JSON, in 64 hexadecimal digits."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from experiments.schema.config import RunConfig
from experiments.schema.typed import Tree, get, to_dict

# Hyper-parameters that came after the first records, with the value that stands for what was before: a run with that
# value keeps its digest.
ADDED_LATER = {
    "optim.state_dtype": "float32",
    "optim.state_rounding": "stochastic",
    "optim.asgd_after": 0,
    "optim.asgd_metric": "val_ppl",
    "optim.asgd_average": True,
    "optim.layer_decay": 1.0,
}
ADDED_LATER_TO = {"adam": {"optim.decoupled_weight_decay": False}}  # the same of one optimizer

# Fields that change no number of a run (`lr_scaling` has done its work on `optim.lr`): excluded from its digest.
# The seed stands beside the digest.
NOT_IDENTITY = (
    "title",
    "seed",
    "lr_scaling",
    "parallel",
    "checkpoint",
    "launch",
    "track",
    "stop_at",
    "force",
    "capture",
    "curve",
    "provenance",
    "disagreements",
    "overrides",
    "metrics",
    "data.root",
    "data.hub",
    "data.cache",
    "data.workers",
    "text.tokenizer",  # `inherited` says which it is, and so for the next three
    "parent",
    "init",
    "inherited.source",
)


def canonical_json(tree: Any) -> str:
    """The one text of `tree`: sorted keys, no spaces, ASCII. Raises ValueError for NaN and infinity."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_digest(config: RunConfig | Tree) -> str:
    """sha256 of the fields that change a run's numbers, of a configuration or of its tree (`config.json`).

    The seed is not among them: runs of one digest are the same experiment repeated.
    """
    tree = to_dict(config) if isinstance(config, RunConfig) else config
    return hashlib.sha256(canonical_json(identity(tree)).encode()).hexdigest()


def identity(tree: Tree) -> Tree:
    """`tree` without what `NOT_IDENTITY` names, without values that are RunConfig's defaults or `ADDED_LATER`'s.

    So a field that is added later, with a default that changes nothing, renames no run. In turn a default never
    changes its meaning: a new behaviour is a new field or a new value.
    """
    kept = copy.deepcopy(tree)
    later = ADDED_LATER | ADDED_LATER_TO.get(get(kept, "optim.name"), {})
    neutral = [name for name, value in later.items() if get(kept, name) == value]
    for name in (*NOT_IDENTITY, *neutral):
        section, _, key = name.rpartition(".")
        (kept.get(section, {}) if section else kept).pop(key, None)
    return _without_defaults(kept, to_dict(RunConfig()))


def _without_defaults(tree: Tree, defaults: Tree) -> Tree:
    kept: Tree = {}
    for key, value in tree.items():
        default = defaults.get(key, ...)
        if isinstance(value, dict) and isinstance(default, dict) and default:
            value, default = _without_defaults(value, default), {}
        if value != default:
            kept[key] = value
    return kept
