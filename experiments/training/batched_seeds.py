"""Runs that train as one batch, of several seeds and perhaps learning rates, must stay together until they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.record.run_directory import RunDirectory
from experiments.record.timing import read_lines
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError

Member = tuple[RunConfig, RunDirectory]


def together(members: Sequence[Member]) -> dict[str, Any]:
    """Describe the batch that a run trains in for its files: the seeds of its runs, and where they differ their
    learning rates. Empty for a run alone."""
    if len(members) == 1:
        return {}
    rates = [config.optim["lr"] for config, _ in members]
    facts: dict[str, Any] = {"seeds": [config.seed for config, _ in members]}
    return facts if len(set(rates)) == 1 else {**facts, "learning_rates": rates}


def goes_on(members: Sequence[Member]) -> bool:
    """Whether this very batch was begun before and can go on whole, since those of its runs that ended already will
    write what they wrote: from its checkpoint, or from the beginning where none has finished."""
    facts, (_, first) = together(members), members[0]
    if any(_begun_with(directory) != facts for _, directory in members):
        return False
    finished = any(directory.status() == "finished" for _, directory in members)
    return not finished or any(first.checkpoints.glob("update-*.pt"))


def refuse_other_members(members: Sequence[Member]) -> None:
    """Raise UserError for a run that ended, unless the batch `goes_on`: it would be written over; and for one that was
    begun alone, or in a batch other than this.

    The checkpoints of a batch are one, and results depend on its size by rounding.
    """
    facts, whole = together(members), goes_on(members)
    for config, directory in members:
        if directory.status() in ("finished", "diverged") and len(members) > 1 and not whole:
            raise UserError(f"run {directory.name} has ended: leave it out of this batch, or move its directory away")
        begun = _begun_with(directory)
        if begun is None or begun == facts:
            continue
        alone = {"seeds": [config.seed]}
        raise UserError(
            f"run {directory.name} was begun in one process with {_said(begun or alone)}, not {_said(facts or alone)}: "
            f"go on with {_again(begun or alone)}, or move its directory away to start it again"
        )


def _begun_with(directory: RunDirectory) -> dict[str, Any] | None:
    """`together` of the process that had the run last, None for a run that no process had."""
    content = directory.timing_path.read_bytes() if directory.timing_path.exists() else b""
    starts = [line for line in read_lines(content) if line["kind"] in ("start", "restart")]
    return {key: starts[-1][key] for key in ("seeds", "learning_rates") if key in starts[-1]} if starts else None


def _said(facts: dict[str, Any]) -> str:
    text = f"seeds {facts['seeds']}"
    return f"{text} at learning rates {facts['learning_rates']}" if "learning_rates" in facts else text


def _again(facts: dict[str, Any]) -> str:
    seeds = list(dict.fromkeys(facts["seeds"]))
    if len(facts["seeds"]) == 1:
        return f"seed={seeds[0]} alone"
    rates = ",".join(f"{rate:g}" for rate in dict.fromkeys(facts.get("learning_rates", [])))
    each = f" optim.lr={rates}" if rates else ""
    return f"-m seed={','.join(map(str, seeds))}{each} launch.seeds_per_process={len(seeds)}"
