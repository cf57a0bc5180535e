"""How long work takes on the card at hand, by what was measured there.

Sealed records say so. Runs that have not ended, and the GPU's tests, are remembered in a file of the card's beside its
page of benchmarks, so that the next window knows.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import checkout  # noqa: F401
from gpu_work import Work, record_in, results_folders

from experiments.record.atomic import write_json
from experiments.record.published import published
from experiments.record.run_directory import run_name
from experiments.record.timing import read_lines
from experiments.schema import paths
from experiments.schema.config import RunConfig
from experiments.schema.epochs import of_run
from experiments.schema.typed import to_dict

START = 0.5  # minutes until the first update: imports, data, recording
MARGIN = 1.15  # a card that others use is slower


class Paces:
    """Seconds an update, evaluation and checkpoints included, of runs on one card; `benchmarks` are the rows that
    `bench_gpu.py` wrote of it."""

    def __init__(self, card: str, file: Path, benchmarks: list[dict[str, Any]]) -> None:
        self.file, self.benchmarks = file, benchmarks
        self.remembered: dict[str, Any] = _read(file)
        self._sealed: dict[tuple[str, str, str], list[float]] = {}
        sealed = [json.loads(one.record()) for folder in results_folders() for one in published(folder)]
        for record in [*(record_in(path) for path in paths.RUNS.glob("*")), *sealed]:
            if record and _card(record["hardware"]) == card and record["wall_seconds"] and record["progress"]["update"]:
                pace = record["wall_seconds"] / record["progress"]["update"]
                self._sealed.setdefault((record["exp"], record["scale"], record["optim"]), []).append(pace)

    def minutes(self, work: Work, config: RunConfig) -> tuple[float, str]:
        """What is left of a run will take, and where that is known from."""
        left = updates_left(config)
        paces, known = self._paces(config)
        if paces:
            return START + MARGIN * left * median(paces) / 60, known
        return START + work.minutes * left / of_run(config).total_updates, known

    def remember_run(self, config: RunConfig, pace: float) -> None:
        """Keep the pace of a run, ended or not."""
        self.remembered.setdefault("paces", {})["/".join(_kind(config))] = round(pace, 6)
        self._write()

    def remember_tests(self, **values: Any) -> None:
        """Keep what became of the GPU's tests."""
        self.remembered["tests"] = values
        self._write()

    def _paces(self, config: RunConfig) -> tuple[list[float], str]:
        """Those of the run's own optimizer where there are any, then of any, then the benchmark of the same update."""
        kind = _kind(config)
        own = {"/".join(each): paces for each, paces in self._sealed.items()}
        for each, pace in self.remembered.get("paces", {}).items():
            own.setdefault(each, [pace])
        if paces := own.get("/".join(kind)):
            return paces, "measured on this card"
        family = [pace for each, paces in own.items() if each.startswith("/".join(kind[:2]) + "/") for pace in paces]
        if family:
            return family, "measured on this card with other optimizers"
        for row in self.benchmarks:
            if row.get("run") == shape_of(config):
                times = row["seconds"].get("captured") or row["seconds"]["eager"]
                return [1.25 * median(times)], "its update's benchmark, and a quarter for evaluation"
        return [], "a guess"

    def _write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, self.remembered)


def shape_of(config: RunConfig) -> list[Any]:
    """What makes two updates cost the same, but for the optimizer."""
    return [config.exp, config.scale, config.global_batch_size, config.precision]


def updates_left(config: RunConfig) -> int:
    """Updates of a run after its newest checkpoint."""
    checkpoints = sorted((paths.RUNS / run_name(to_dict(config)) / "checkpoints").glob("update-*.pt"))
    done = int(checkpoints[-1].name.split("-")[1].removesuffix(".pt")) if checkpoints else 0
    return of_run(config).total_updates - done


def pace_of(config: RunConfig) -> tuple[float, int] | None:
    """Seconds an update of the run's newest process, and the updates that it has left; None before the second end of an
    epoch, for the first holds all that is done once."""
    try:
        content = (paths.RUNS / run_name(to_dict(config)) / "timing.jsonl").read_bytes()
    except OSError:
        return None
    ends: list[dict[str, Any]] = []
    for line in read_lines(content):
        if line["kind"] in ("start", "restart"):
            ends = []
        elif line["kind"] == "epoch":
            ends.append(line)
    if len(ends) < 2 or ends[-1]["update"] <= ends[0]["update"]:
        return None
    pace = (ends[-1]["elapsed"] - ends[0]["elapsed"]) / (ends[-1]["update"] - ends[0]["update"])
    return pace, of_run(config).total_updates - ends[-1]["update"]


def _kind(config: RunConfig) -> tuple[str, str, str]:
    return config.exp, config.scale, config.optim["name"]


def _card(hardware: dict[str, Any]) -> str:
    """The accelerator, or without one the processor."""
    return (hardware["accelerator"] or {}).get("name") or hardware["cpu"]


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
