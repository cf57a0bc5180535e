"""The directory of one run: its name, its files, and who may write to it.

    runs/vit_small-adan-mini-1f2e3d4c5b6a-seed0/
        config.json            the resolved configuration
        events.jsonl           what happened (record.events); events.tail-<n>.jsonl are ends cut off by a resume
        timing.jsonl           wall-clock time (record.timing)
        checkpoints/
        record.json            there when sealed (record.seal); record.partial-<update>.json are earlier ones
        lock                   held by the process that trains

The name carries a digest of everything that changes the run's numbers, so the same command finds the same run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from experiments.record.atomic import keep_beside, remove_leftovers, sync_folder, write_json
from experiments.record.canonical import value_digest
from experiments.record.lock import Held, locked
from experiments.record.provenance import code
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError, suggestion
from experiments.schema.typed import from_dict, to_dict


def run_name(config: dict[str, Any]) -> str:
    """Name of a run's first attempt, of the tree of its configuration:
    `<exp>-<optim>-<scale>-<12 hex digits of its digest>-seed<seed>`."""
    digest = config_digest(config)[:12]
    return f"{config['exp']}-{config['optim']['name']}-{config['scale']}-{digest}-seed{config['seed']}"


class RunDirectory:
    """An existing run directory. Raises UserError when `path` is none."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().name
        self.config_path = self.path / "config.json"
        self.events_path = self.path / "events.jsonl"
        self.timing_path = self.path / "timing.jsonl"
        self.record_path = self.path / "record.json"
        self.checkpoints = self.path / "checkpoints"
        if not self.config_path.exists():
            others = [other.name for other in self.path.parent.glob("*/")] if self.path.parent.is_dir() else []
            near = suggestion(self.name, others) if not self.path.exists() else ""
            raise UserError(f"{self.path} is not a run directory: it has no config.json{near}")

    @classmethod
    def open_or_create(cls, runs: Path, config: RunConfig) -> RunDirectory:
        """The directory of the run that `config` describes, under `runs`: created, or found again.

        The newest attempt is the run. `config.force` begins a new one (`<name>-attempt2`, 3, ...) only when the
        newest is finished; before that it continues it, like the same command without `force`. A reopened,
        unfinished run takes over those choices of `config` that change no number (devices, tracking, `stop_at`);
        the configuration it had is kept as `config.earlier-<n>.json`.
        """
        name = run_name(to_dict(config))
        try:
            runs.mkdir(parents=True, exist_ok=True)
            with locked(runs / ".lock", wait=True):
                path, number = runs / name, 1
                while (following := runs / f"{name}-attempt{number + 1}").exists():
                    path, number = following, number + 1
                if config.force and path.exists() and _adopt(path, config).status() == "finished":
                    path = following
                if not path.exists():
                    path.mkdir()
                    sync_folder(runs)
                return _adopt(path, config)
        except OSError as error:
            raise UserError(f"the run cannot have its directory under {runs}: {error.strerror or error}") from error

    def config(self) -> RunConfig:
        """The configuration of this run. Raises UserError when config.json cannot be understood."""
        return from_dict(self.config_tree(), str(self.config_path))

    def config_tree(self) -> dict[str, Any]:
        """The content of config.json as it stands. Raises UserError when it is not a JSON object."""
        try:
            tree = json.loads(self.config_path.read_bytes())
        except ValueError as error:
            raise UserError(f"{self.config_path} is damaged: {error}") from error
        if not isinstance(tree, dict):
            raise UserError(f"{self.config_path} is damaged: it holds no JSON object")
        return tree

    def record(self) -> dict[str, Any] | None:
        """The sealed record in record.json, None when the run has none yet. Raises UserError when it is no longer what
        was sealed, by its own digest."""
        if not self.record_path.exists():
            return None
        try:
            record = json.loads(self.record_path.read_bytes())
            rest = {key: value for key, value in record.items() if key != "record_digest"}
            if record["record_digest"] != value_digest(rest):
                raise ValueError("its digest is another")
            return record
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"{self.record_path} is damaged ({error}); move it away to seal the run again") from error

    def status(self) -> str:
        """`finished`, `partial` or `diverged` as its record says; without a record `unfinished`, or `new` before any
        event."""
        record = self.record()
        if record is not None:
            return record["status"]
        begun = self.events_path.exists() and self.events_path.stat().st_size > 0
        return "unfinished" if begun or any(self.checkpoints.glob("*")) else "new"

    def has_ended(self) -> bool:
        """Whether nothing here is to change any more: the run is finished, or its record is damaged."""
        try:
            return self.status() == "finished"
        except UserError:
            return True

    @contextmanager
    def hold(self) -> Iterator[RunDirectory]:
        """Be the one process that writes here. The kernel ends the hold with the process, also on SIGKILL.

        Raises UserError naming the holder when another process has it.
        """
        try:
            with locked(self.path / "lock"):
                code()  # which code runs is known now, not when the run is sealed
                remove_leftovers(self.path)
                remove_leftovers(self.checkpoints)
                yield self
        except Held as holder:
            message = f"run {self.name} is held by {holder}: wait for it to end, or stop it and run this again"
            raise UserError(message) from None


def _adopt(path: Path, config: RunConfig) -> RunDirectory:
    """Make `path`, which exists, the directory of `config`; its config.json may be missing (killed before)."""
    config_path, tree = path / "config.json", to_dict(config)
    if not config_path.exists():
        write_json(config_path, tree)
    directory = RunDirectory(path)
    try:
        before = directory.config_tree()
    except UserError as damage:
        sealed = _sealed_config(directory)
        if sealed is None or config_digest(sealed) != config_digest(tree):
            raise
        before = sealed
        names = (f"config.damaged-{number}.json" for number in count(1))
        keep_beside(path, names, config_path.read_bytes())
        write_json(config_path, before)
        print(f"warning: {damage}; it is written again from the record, the damaged one is kept", file=sys.stderr)
    if (config_digest(before), before.get("seed")) != (config_digest(config), config.seed):
        raise UserError(f"{config_path} was altered: it no longer describes {path.name}. Move the directory away")
    if before != tree and not directory.has_ended():
        try:
            with locked(path / "lock"):
                keep_beside(path, (f"config.earlier-{number}.json" for number in count(1)), config_path.read_bytes())
                write_json(config_path, tree)
        except Held:
            pass  # the caller learns who holds it when it wants to hold it itself
    return directory


def _sealed_config(directory: RunDirectory) -> dict[str, Any] | None:
    """What config.json held, by the record of a finished run; None where there is no such record."""
    with suppress(UserError):
        record = directory.record()
        if record is not None and record["status"] == "finished":
            return record["config"]
    return None
