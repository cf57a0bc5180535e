"""Runs of one setting that may be judged together: those that read equal data.

Seeds on different data are no draws of one experiment, and their mean is the mean of nothing. Which runs are left is
decided by their number and their seeds, never by their results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.record.same_data import differ, in_words


def of_equal_data(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `records` that read equal data, in their order: the group with the most seeds that have ended, of
    equally many that of the lowest seed. One whose description cannot tell (`same_data.differ`) counts as equal."""
    known = list(records)
    groups: list[list[dict[str, Any]]] = []
    for record in sorted(known, key=lambda record: (record["seed"], len(record["run"]), record["run"])):
        fitting = (group for group in groups if not any(_differ(record, other) for other in group))
        group = next(fitting, None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    chosen = max(groups, key=_ended, default=[])
    kept = {record["run"] for record in chosen}
    return [record for record in known if record["run"] in kept]


def equal_to(record: dict[str, Any], others: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `others` that are not known to have read other data than `record`."""
    return [other for other in others if not _differ(record, other)]


def set_aside(left: Sequence[dict[str, Any]], judged: Sequence[dict[str, Any]]) -> str:
    """One sentence that names the data of `judged` and those of the runs `left` out for theirs, with the way to judge
    them instead; empty where none is."""
    others = [record for record in left if any(_differ(record, kept) for kept in judged)]
    if not others or not judged:
        return ""
    mine, theirs = judged[0].get("data") or {}, others[0].get("data") or {}
    seeds = ", ".join(str(seed) for seed in sorted({record["seed"] for record in others}))
    return (
        f"not judged, because of other data: seed {seeds}, which read {in_words(theirs, mine, None)} and not "
        f"{in_words(mine, theirs, None)}; move the records of one of the two out of results/records to judge the other"
    )


def _ended(group: Sequence[dict[str, Any]]) -> int:
    """Say how many seeds have ended, well or badly."""
    return len({record["seed"] for record in group if record["status"] in ("finished", "diverged")})


def _differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return differ(one.get("data") or {}, other.get("data") or {})
