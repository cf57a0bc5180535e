"""Checked configurations to what they ask for: a plan, one run, or several. Returns the exit status of the command.

0 done, 1 a run failed, 2 a user's mistake, 75 stopped by SIGTERM after a checkpoint ("requeue me"), 130 by Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments import tasks
from experiments.launch.seed_batches import require_stackable
from experiments.record import provenance, trackers
from experiments.schema import paths
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError, suggestion
from experiments.schema.experiment_file import read_experiment
from experiments.schema.legal_values import IN_PACKAGES
from experiments.schema.task_info import info

LAUNCHERS = ("local", "plan")


def dispatch(configs: Sequence[RunConfig]) -> int:
    """Do what `configs` ask for; two cells that are the same run count once. Raises UserError before any run when data
    is missing, batch norm would see one sample alone, or ADAN_REVISION cannot be the code's."""
    configs = list({(config_digest(config), config.seed, *_places(config)): config for config in configs}.values())
    require_stackable(configs)
    for config in configs:
        info(config.task).check_model(config)
    launcher = configs[0].launch.name
    if launcher == "plan":
        from experiments.launch import plan_text

        return plan_text.show(configs)
    if launcher != "local":
        raise UserError(f"launch={launcher}: no such launcher{suggestion(launcher, LAUNCHERS)}")
    provenance.code()
    for config in configs:
        trackers.require(config)
    require_data(configs)
    if len(configs) == 1:
        from experiments.launch import local

        return local.run(configs[0])
    from experiments.launch import several

    return several.run(configs)


def _places(config: RunConfig) -> tuple[str | None, str | None]:
    """Where the run's data lie, which is no part of its digest."""
    root, hub = config.data.root, config.data.hub
    return root and str(Path(root).resolve()), hub


def require_data(configs: Sequence[RunConfig]) -> None:
    """Raise UserError for the first configuration whose data is not there."""
    for config in configs:
        if problem := tasks.missing(config):
            mini = read_experiment(config.exp, paths.CONFIGS).get("mini", {}).get("data")
            other = ", and scale=mini brings its own" if config.scale != "mini" and mini in IN_PACKAGES else ""
            raise UserError(f"scale={config.scale} of exp={config.exp}: {problem}; `launch=plan` needs no data{other}")
