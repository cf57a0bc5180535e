"""Being the one process, or the one group of ranks, that writes to run directories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from experiments.record.run_directory import RunDirectory
from experiments.schema.errors import UserError
from experiments.training import parallel
from experiments.training.task import Part


@contextmanager
def held(directories: Sequence[RunDirectory], part: Part) -> Iterator[None]:
    """Hold the directories on rank 0. Every rank raises UserError where rank 0 cannot, so that none waits for it."""
    with ExitStack() as stack:
        problem = None
        if part.rank == 0:
            try:
                for directory in directories:
                    stack.enter_context(directory.hold())
            except UserError as error:
                problem = error
        (refused,) = parallel.sum_over_ranks([float(problem is not None)], part.device)
        if refused:
            raise problem or UserError("rank 0 cannot hold the run")
        yield
