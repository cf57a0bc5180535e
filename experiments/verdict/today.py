"""Whether a record is a run of the recipe as it stands today, or of one that has changed since."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.schema.overrides import parse
from experiments.schema.resolve import resolve
from experiments.schema.tables import CELL_KEYS
from experiments.schema.typed import to_dict


def of_today(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `records` whose recipe has not changed since."""
    return [record for record in records if is_of_today(record)]


def is_of_today(record: dict[str, Any]) -> bool:
    """Whether the command line of `record` composes today to the configuration that was run. What the run took from
    another (weights, a tokenizer, the model of a checkpoint) is no part of its recipe."""
    choices = {key: record[key] for key in (*CELL_KEYS, "scale") if record.get(key) is not None}
    own = (f"{key}={value}" for key, value in choices.items())
    arguments = tuple(dict.fromkeys((*own, *record.get("overrides", []))))  # a batch of no table stands in both
    ran = record.get("config") or {}
    if not any((ran.get("inherited") or {}).values()):
        return _composed(arguments, paths.CONFIGS) == record.get("config_digest")
    tree = _tree(arguments, paths.CONFIGS)
    taken = {key: ran[key] for key in ("inherited", *(["model"] if ran.get("init") else []))}
    return tree is not None and config_digest({**tree, **taken}) == record.get("config_digest")


@functools.cache
def _composed(arguments: tuple[str, ...], configs: Path) -> str | None:
    """The digest of what `arguments` compose to; None where they are no configuration any more."""
    tree = _tree(arguments, configs)
    return None if tree is None else config_digest(tree)


@functools.cache
def _tree(arguments: tuple[str, ...], configs: Path) -> dict[str, Any] | None:
    try:
        [point] = parse(list(arguments))
        return to_dict(resolve(point.choices, point.values, configs))
    except UserError:
        return None
