"""Work out what a search (`experiments.schema.searches`) found: one value for every combination, and the best of
them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments.schema.searches import Search, Settings
from experiments.schema.typed import get
from experiments.verdict import records as of_record


class Tried(NamedTuple):
    """One combination: `value` is the best finite evaluation of the search's metric within its budget, None while the
    run has not got there, NaN where there is none (a loss that was not finite ended it); `run` is its name, if it was
    begun."""

    settings: Settings
    run: str | None = None
    value: float | None = None


def tried(search: Search, exp: str, optim: str, records: Iterable[dict[str, Any]], scale: str) -> list[Tried]:
    """Every combination of the grid of `optim`, in its order. Raises UserError for a record without its events."""
    runs = [record for record in records if _is_run(record, search, exp, optim, scale)]
    return [_tried(search, settings, runs, scale) for settings in search.combinations(optim)]


def best(found: Sequence[Tried], direction: str) -> Tried | None:
    """The combination with the smallest (`direction` "min") or largest value, the first of equal ones; None while a
    run is missing, and where all diverged."""
    if any(one.value is None for one in found):
        return None
    sign = 1 if direction == "min" else -1
    finite = [one for one in found if one.value is not None and math.isfinite(one.value)]
    return min(finite, key=lambda one: sign * (one.value or 0.0), default=None)


def at_edge(chosen: Settings, grid: dict[str, list[float]]) -> dict[str, str]:
    """Settings whose chosen value is the `lowest` or `highest` of at least three: the best may lie outside."""
    ends = {key: {min(values): "lowest", max(values): "highest"} for key, values in grid.items() if len(values) > 2}
    return {key: ends[key][value] for key, value in chosen.items() if value in ends.get(key, {})}


def _is_run(record: dict[str, Any], search: Search, exp: str, optim: str, scale: str) -> bool:
    """Whether `record` is a run of the grid: its command line changed nothing else."""
    wanted = (exp, optim, search.recipe, scale, search.seed)
    if tuple(record.get(key) for key in ("exp", "optim", "recipe", "scale", "seed")) != wanted:
        return False
    changed = {text.partition("=")[0] for text in of_record.overrides(record)}
    return changed <= {*search.grids[optim], *search.settings} and all(
        of_record.same_setting(get(record["config"], key), value) for key, value in search.settings.items()
    )


def _tried(search: Search, settings: Settings, runs: Sequence[dict[str, Any]], scale: str) -> Tried:
    own = [
        run
        for run in runs
        if all(of_record.same_setting(get(run["config"], key), value) for key, value in settings.items())
    ]
    counted_once = of_record.one_experiment(own)
    if not counted_once:
        return Tried(settings)
    [record] = counted_once
    limit, value = search.limit(scale), None
    if record["status"] == "diverged":
        value = math.nan
    elif record["status"] == "finished" or (limit is not None and record["progress"]["epoch"] >= limit):
        direction = record["config"]["metrics"][search.metric]["direction"]
        counted = [
            float(event[search.metric])
            for event in of_record.evaluations(record)
            if limit is None or event["epoch"] < limit
        ]
        finite = [number for number in counted if math.isfinite(number)]
        value = (min if direction == "min" else max)(finite, default=math.nan)
    return Tried(settings, record["run"], value)
