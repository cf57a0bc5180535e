"""The real runs that a GPU is lent for, in the order of their worth: what `use_gpu.py` goes through.

Each is a command of run.py, with the minutes that it is guessed to take on an H100, from the bare updates measured
there (issue 14). A guess counts until something is measured (`gpu_paces.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import checkout  # noqa: F401

from experiments.record.published import copies
from experiments.record.run_directory import run_name
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest
from experiments.schema.tables import load_table
from experiments.schema.typed import to_dict

CIFAR10, PTB = "cifar10", "ptb"
ADABELIEF_ORDER = ("adan", "adam", "adabelief", "adamw", "sgd", "yogi", "radam", "msvag_adabelief", "adabound", "msvag")
ENDED = ("finished", "diverged")


@dataclass(frozen=True)
class Work:
    """A run: overrides of run.py without its `scale`, the data it needs, and minutes on an H100, guessed."""

    group: str
    overrides: tuple[str, ...]
    data: str
    minutes: float
    scale: str = "paper"

    @property
    def title(self) -> str:
        """Experiment, optimizer, and what tells it from its neighbours."""
        return " ".join(
            text.partition("=")[2] if text.startswith(("exp=", "optim=")) else text for text in self.overrides
        )

    def command(self, scale: str, data: Path | None) -> list[str]:
        """Overrides of run.py, with the scale and the place of the data. Mini runs are for a CPU and bring theirs."""
        if scale == "mini":
            return [*self.overrides, "scale=mini", "launch.device=cpu"]
        return [*self.overrides, f"scale={scale}", *([f"data.root={data}"] if data is not None else [])]


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
                yield Work(f"table {name}, scale=small", overrides, CIFAR10, 10.0, "small")


def configuration(work: Work, scale: str, data: Path | None) -> RunConfig:
    """What would run. Raises UserError where it cannot be."""
    (config,) = compose(work.command(scale, data))
    return config


def ended(config: RunConfig) -> Path | None:
    """Where the sealed record of a run that has ended lies, whether finished or diverged: among the runs, in the
    results folder, or in this checkout's. None where there is none."""
    digest, name = config_digest(config), run_name(to_dict(config))
    for path in sorted(paths.RUNS.glob(f"{name}*")):
        record = record_in(path)
        if record and record["status"] in ENDED and record["config_digest"] == digest:
            return path
    for one in (one for results in results_folders() for one in copies(name, results)):
        record = json.loads(one.record())
        if record["status"] in ENDED and record["config_digest"] == digest:
            return one.folder or one.bundle
    return None


def results_folders() -> list[Path]:
    """Where sealed records may lie: the results folder in use, and this checkout's."""
    return sorted({paths.RESULTS, paths.ROOT / "results"})


def record_in(path: Path) -> dict[str, Any] | None:
    """The record of a run directory, or of its published copy; None where there is none that can be read."""
    try:
        return json.loads((path / "record.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
