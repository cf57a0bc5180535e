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


def of_today(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `records` whose recipe has not changed since."""
    return [record for record in records if is_of_today(record)]


def is_of_today(record: dict[str, Any]) -> bool:
    """Whether the command line of `record` composes today to the configuration that was run."""
    choices = {key: record[key] for key in (*CELL_KEYS, "scale") if record.get(key) is not None}
    arguments = (*(f"{key}={value}" for key, value in choices.items()), *record.get("overrides", []))
    return _composed(arguments, paths.CONFIGS) == record.get("config_digest")


@functools.cache
def _composed(arguments: tuple[str, ...], configs: Path) -> str | None:
    """The digest of what `arguments` compose to; None where they are no configuration any more."""
    try:
        [point] = parse(list(arguments))
        return config_digest(resolve(point.choices, point.values, configs))
    except UserError:
        return None
