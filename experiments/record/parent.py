"""The finished run whose weights another run begins from: found by its directory, its record or its name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.record.run_directory import RunDirectory
from experiments.schema import names, paths
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.experiment_file import read_experiment
from experiments.schema.task_info import info


@dataclass(frozen=True)
class Parent:
    """A sealed, finished run and the directory that has its weights."""

    record: dict[str, Any]
    directory: RunDirectory

    @property
    def run(self) -> str:
        return self.record["run"]


def find_parent(place: str, kinds: Collection[str]) -> Parent:
    """Find the run at `place`: a run directory, a record (its file or its folder under `results/records`), or a run's
    name.

    Raises UserError, with the nearest run of a task of `kinds`, when there is none, and when it is not finished or its
    checkpoints are gone.
    """
    path = Path(place).expanduser()
    candidates = (path.parent if path.name == "record.json" else path, paths.RUNS / place)
    folder = next((folder for folder in candidates if (folder / "config.json").is_file()), None)
    if folder is None:
        known = [run.name for run in _runs() if run.config_tree().get("task") in kinds]
        raise UserError(f"parent={place} (command line): no run directory and no record{suggestion(path.name, known)}")
    record = RunDirectory(folder).record()
    if record is None:
        raise UserError(f"parent={place} (command line): the run is not finished; the command that began it goes on")
    if record["status"] == "diverged":
        raise UserError(f"parent={place} (command line): a loss that was not finite ended the run; name another")
    if record["status"] != "finished":
        progress = record["progress"]
        raise UserError(
            f"parent={place} (command line): the run stopped at update {progress['update']} of "
            f"{progress['total_updates']}; its command without stop_at goes on from there"
        )
    directories = [
        path for path in (folder, paths.RUNS / record["run"]) if any((path / "checkpoints").glob("update-*.pt"))
    ]
    if not directories:
        raise UserError(
            f"parent={place} (command line): the weights of {record['run']} are not on this machine; give the run "
            "directory that has its checkpoints"
        )
    return Parent(record, RunDirectory(directories[0]))


def missing_weights(config: RunConfig) -> str | None:
    """Say what to give where a run needs weights and has none, in one sentence, or None."""
    task = info(config.task)
    if not task.parents or config.inherited.weights:
        return None
    first = next(exp for exp in names.choices("exp") if _task_of(exp) in task.parents)
    run = f"give parent=RUN of `python run.py exp={first} optim={config.optim['name']} scale={config.scale}`"
    folder = ", or init=FOLDER of a transformers checkpoint" if task.begin_from_checkpoint else ""
    return f"it fine-tunes a pre-trained model: {run}{folder}"


def newest_finished(kinds: Collection[str], **choices: Any) -> Parent | None:
    """Find the run under `paths.RUNS` that was sealed last of those that are of a task of `kinds`, finished, and not
    changed on the command line, and whose records have the values of `choices`; None when there is none."""
    found: list[tuple[float, Path]] = []
    for run in _runs():
        record = run.record() or {}
        as_wanted = all(record.get(key) == value for key, value in {**choices, "status": "finished"}.items())
        if as_wanted and not record["overrides"] and record["config"]["task"] in kinds:
            found.append((run.record_path.stat().st_mtime, run.path))
    return find_parent(str(max(found)[1]), kinds) if found else None


def _task_of(exp: str) -> str:
    return read_experiment(exp)["task"]


def _runs() -> Iterator[RunDirectory]:
    """The runs under `paths.RUNS`, but for those with damaged files."""
    for file in sorted(paths.RUNS.glob("*/config.json")):
        run = RunDirectory(file.parent)
        try:
            run.config_tree(), run.record()
        except UserError:
            continue
        yield run
