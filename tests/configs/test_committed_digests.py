"""A committed record stays the run that its command names: the same words compose to the same digest, for ever."""

from __future__ import annotations

import json
from functools import cache

import pytest

from experiments.schema import paths
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest

RECORDS = {path.parent.name: path for path in sorted((paths.ROOT / "results" / "records").glob("*/record.json"))}


@cache
def composed(*words: str) -> str:
    (config,) = compose(list(words))
    check(config)
    return config_digest(config)


@pytest.mark.parametrize("run", RECORDS)
def test_the_command_of_a_record_composes_to_its_digest(run):
    record = json.loads(RECORDS[run].read_text())
    words = [f"{key}={record[key]}" for key in ("exp", "optim", "recipe", "scale", "batch_size")]
    words += [f"{unit}={record[unit]}" for unit in ("epochs", "updates") if record.get(unit)]
    assert config_digest(record["config"]) == record["config_digest"]
    assert composed(*words, *record["overrides"]) == record["config_digest"]
