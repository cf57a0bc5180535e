"""The directory of a run, found or made by its configuration and by what it would read."""

from __future__ import annotations

from experiments import tasks
from experiments.record.run_directory import RunDirectory
from experiments.schema import paths
from experiments.schema.config import RunConfig


def open_run(config: RunConfig) -> RunDirectory:
    """The directory under `paths.RUNS` of the run that `config` describes on the data as they are now.

    Looks at every file of the data, before anything is said of the run or done with it. Raises UserError when data are
    missing or cannot be read, and when the run was begun on other data.
    """
    return RunDirectory.open_or_create(paths.RUNS, config, tasks.data_identity(config))
