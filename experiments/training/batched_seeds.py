"""Runs of several seeds that train as one batch must stay together until they end."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.record.run_directory import RunDirectory
from experiments.record.timing import read_lines
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError


def refuse_other_seeds(members: Sequence[tuple[RunConfig, RunDirectory]]) -> None:
    """Raise UserError for an unfinished run that was begun alone, or with other seeds than these.

    Their checkpoints are one, and results depend on the size of the batch by rounding.
    """
    seeds = [config.seed for config, _ in members]
    for _, directory in members:
        if directory.status() == "finished":
            continue
        begun = _begun_with(directory) or seeds
        if begun == seeds:
            continue
        size, listed = len(begun), ",".join(map(str, begun))
        again = f"-m seed={listed} launch.seeds_per_process={size}" if size > 1 else f"seed={listed} alone"
        raise UserError(
            f"run {directory.name} was begun in one process with seeds {begun}, not {seeds}: go on with {again}, or "
            "move its directory away to start it again"
        )


def _begun_with(directory: RunDirectory) -> list[int] | None:
    """Seeds of the process that had the run last, None for a run that no process had."""
    content = directory.timing_path.read_bytes() if directory.timing_path.exists() else b""
    starts = [line for line in read_lines(content) if line["kind"] in ("start", "restart")]
    return starts[-1].get("seeds", [directory.config().seed]) if starts else None
