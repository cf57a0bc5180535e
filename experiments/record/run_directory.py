"""The directory of one run: its name, its files, and who may write to it.

    runs/vit_small-adan-mini-1f2e3d4c5b6a-seed0/
        config.json            the resolved configuration
        data.json              what its data were when it began (record.same_data)
        events.jsonl           what happened (record.events); events.tail-<n>.jsonl are ends cut off by a resume
        timing.jsonl           wall-clock time, norms of gradient and update (record.timing)
        checkpoints/
        record.json            there when sealed (record.seal); record.partial-<update>.json are earlier ones
        lock                   held by the process that trains

The name carries a digest of everything in the configuration that changes the run's numbers. Where data lie is not among
it, so what was read stands in data.json: the same command on the same data finds the same run.
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
from experiments.record.same_data import Description, differ, digests, in_words
from experiments.schema.config import DataConfig, RunConfig
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
        self.data_path = self.path / "data.json"
        self.events_path = self.path / "events.jsonl"
        self.timing_path = self.path / "timing.jsonl"
        self.record_path = self.path / "record.json"
        self.checkpoints = self.path / "checkpoints"
        if not self.config_path.exists():
            others = [other.name for other in self.path.parent.glob("*/")] if self.path.parent.is_dir() else []
            near = suggestion(self.name, others) if not self.path.exists() else ""
            raise UserError(f"{self.path} is not a run directory: it has no config.json{near}")

    @classmethod
    def open_or_create(cls, runs: Path, config: RunConfig, data: Description | None = None) -> RunDirectory:
        """The directory of the run that `config` describes on `data`, under `runs`: created, or found again. Without
        `data` they are not compared.

        The newest attempt of equal data is the run. `config.force` begins another (`<name>-attempt2`, 3, ...) beside
        it, unless it was itself begun so and has not ended: the same command goes on with what it began. A reopened,
        unfinished run takes over those choices of `config` that change no number (devices, tracking, `stop_at`);
        the configuration it had is kept as `config.earlier-<n>.json`.

        Raises UserError where there are attempts that trained, all of them on other data, and no `config.force`.
        """
        name = run_name(to_dict(config))
        try:
            runs.mkdir(parents=True, exist_ok=True)
            with locked(runs / ".lock", wait=True):
                attempts, path = [], runs / name
                while path.exists():
                    attempts.append(path)
                    path = runs / f"{name}-attempt{len(attempts) + 1}"
                own = [attempt for attempt in attempts if not _is_of_other_data(attempt, data)]
                if own and not (config.force and not _was_begun_by_force_and_goes_on(own[-1])):
                    path = own[-1]
                elif not config.force and (begun := [cls(other) for other in attempts if cls(other).status() != "new"]):
                    raise UserError(_two_data(begun[-1], config, data or {}))
                if not path.exists():
                    path.mkdir()
                    sync_folder(runs)
                return _adopt(path, config, data)
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

    def identity(self) -> Description | None:
        """Return what the run's data were when it began, as data.json says; None for a run of code that kept none."""
        try:
            found = json.loads(self.data_path.read_bytes())
            if not isinstance(found, dict):
                raise ValueError("it holds no JSON object")
            return found
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(
                f"{self.data_path} is damaged ({error}); move it away, and the run counts as one of the data given"
            ) from error

    def data(self) -> Description | None:
        """The same, or else what the run's record says; None where there is none, or it is damaged."""
        if (known := self.identity()) is not None:
            return known
        with suppress(UserError):
            return (self.record() or {}).get("data")
        return None

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
            raise UserError(
                f"{self.record_path} is damaged ({error}); put its copy of results/records/{self.name} in its place, "
                "or move it away to seal the run again"
            ) from error

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


def _is_of_other_data(attempt: Path, data: Description | None) -> bool:
    """Whether an attempt is known to be of other data than `data`. One whose creation was cut short is of none."""
    if data is None or not (attempt / "config.json").exists():
        return False
    theirs = RunDirectory(attempt).data()
    return theirs is not None and differ(theirs, data)


def _was_begun_by_force_and_goes_on(attempt: Path) -> bool:
    if not (attempt / "config.json").exists():
        return True
    directory = RunDirectory(attempt)
    begun_by_force = bool(directory.config_tree().get("force"))
    return begun_by_force and not directory.has_ended() and directory.status() != "diverged"


def _two_data(begun: RunDirectory, config: RunConfig, data: Description) -> str:
    theirs, there = begun.data() or {}, begun.config().data
    return (
        f"run {begun.name} was begun on {in_words(theirs, data, _place(there))}, and this command reads "
        f"{in_words(data, theirs, _place(config.data))}: give the data that it was begun on, or begin another attempt "
        "beside it with force=true; after that the same command without force finds the attempt of the data it reads"
    )


def _place(data: DataConfig) -> str | None:
    return f"data.hub={data.hub}" if data.hub else f"data.root={data.root}" if data.root else None


def _adopt(path: Path, config: RunConfig, data: Description | None) -> RunDirectory:
    """Make `path`, which exists, the directory of `config` on `data`; config.json may be missing (killed before)."""
    config_path, tree = path / "config.json", to_dict(config)
    if not config_path.exists():
        if data is not None:
            write_json(path / "data.json", data)
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
    ended = directory.has_ended()
    new = not ended and directory.status() == "new"
    if (config_digest(before), before.get("seed")) != (config_digest(config), config.seed):
        raise UserError(f"{config_path} was altered: it no longer describes {path.name}. Move the directory away")
    tree["force"] = before.get("force", False)  # how the attempt began
    unknown = data is not None and not directory.data_path.exists()
    if unknown and not new and _place(config.data) and not _comparable(_known(directory), data):
        print(
            f"run {path.name} was begun by code that did not keep what it read: it is taken to be of "
            f"{in_words(data or {}, {}, _place(config.data))}",
            file=sys.stderr,
        )
    if not ended and (before != tree or unknown):
        try:
            with locked(path / "lock"):
                if unknown:
                    write_json(directory.data_path, data)
                if before != tree:
                    earlier = (f"config.earlier-{number}.json" for number in count(1))
                    keep_beside(path, earlier, config_path.read_bytes())
                    write_json(config_path, tree)
        except Held:
            pass  # the caller learns who holds it when it wants to hold it itself
    return directory


def _known(directory: RunDirectory) -> Description | None:
    """Return what is known of a run's data; nothing where its record is damaged."""
    try:
        return directory.data()
    except UserError:
        return None


def _comparable(one: Description | None, other: Description | None) -> bool:
    return one is not None and other is not None and bool(digests(one).keys() & digests(other).keys())


def _sealed_config(directory: RunDirectory) -> dict[str, Any] | None:
    """Return what config.json held, by the record of a finished run; None where there is no such record."""
    with suppress(UserError):
        record = directory.record()
        if record is not None and record["status"] == "finished":
            return record["config"]
    return None
