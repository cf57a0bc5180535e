"""When a run first reaches a target: in updates, in epochs, and in seconds on one kind of machine.

AlgoPerf's definition (Dahl et al., arXiv 2306.07179; mlcommons/algorithmic-efficiency@11e70c0,
scoring/performance_profile.py): the first evaluation that is as good as a target fixed beforehand; never is infinity;
of several studies the median. Here a study is a fresh seed at the setting that a tuning chose.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

NEVER = math.inf


class Time(NamedTuple):
    """What passed until the target was reached; `NEVER` in all three where it was not. `epochs` counts whole ones."""

    updates: float
    epochs: float
    seconds: float


NOT_REACHED = Time(NEVER, NEVER, NEVER)


def time_to_target(
    evaluations: Iterable[Mapping[str, Any]],
    clock: Iterable[Mapping[str, Any]],
    metric: str,
    target: float,
    direction: str,
) -> Time:
    """The time of the first of `evaluations` (events of a run, in order) whose `metric` is at least `target` (at most,
    where `direction` is "min"). `clock` are the run's lines of timing.jsonl: seconds are those of its epochs until
    then, restarts left out; NaN where it does not say."""
    for event in evaluations:
        value = event.get(metric)
        if value is None or not math.isfinite(value):
            continue
        if value <= target if direction == "min" else value >= target:
            return Time(event["update"], event["epoch"] + 1, _seconds(clock, event["update"]))
    return NOT_REACHED


def median(times: Sequence[Time]) -> Time:
    """The median over seeds of each unit; of an even number the mean of the middle two, so never if one of them is."""
    if not times:
        return NOT_REACHED
    return Time(*(statistics.median(values) for values in zip(*times, strict=True)))


def fingerprint(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must be equal for seconds of two runs to be comparable: machine, threads, precision, versions."""
    hardware = record["hardware"]
    machine = tuple(str(hardware.get(key)) for key in ("cpu", "cores", "accelerator"))
    return (*machine, record["threads"], record["config"]["precision"], record["packages"].get("torch"))


def one_fingerprint(records: Iterable[Mapping[str, Any]]) -> bool:
    """Whether seconds of all these runs are comparable."""
    return len({fingerprint(record) for record in records}) == 1


def _seconds(clock: Iterable[Mapping[str, Any]], update: int) -> float:
    epochs = {line["update"]: line["seconds"] for line in clock if line.get("kind") == "epoch"}
    until = [seconds for at, seconds in epochs.items() if at <= update]
    return sum(until) if update in epochs else math.nan
