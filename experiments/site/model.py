"""Everything the pages show, read once: sealed records with their events, tables, claims, the fair comparison."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.record.canonical import restore
from experiments.record.published import EVENTS, Published, published
from experiments.report import claims_page, fair_comparison
from experiments.report.collect import Result, results, scales
from experiments.schema import names, paths
from experiments.schema.experiment_file import read_experiment
from experiments.schema.scales import SCALES
from experiments.schema.tables import Table, load_table, table_names
from experiments.schema.tunings import load_tuning, tuning_names
from experiments.verdict import records as of_record
from experiments.verdict.curves import Curve, load_curve
from experiments.verdict.reported import Reported, load_reported


@dataclass(frozen=True)
class RunView:
    """One sealed run as a page shows it."""

    published: Published
    record: dict[str, Any]

    @property
    def name(self) -> str:
        return self.published.name

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """Its events, in order."""
        return _lines(self.published, EVENTS)

    @cached_property
    def clock(self) -> list[dict[str, Any]]:
        """Its lines of timing.jsonl, in order."""
        return _lines(self.published, "timing.jsonl")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Its events of one kind, in order."""
        return [event for event in self.lines if event.get("kind") == kind]

    @property
    def budget(self) -> int | None:
        return self.record.get("epochs") or self.record.get("updates")

    def command(self) -> str:
        """The command that runs it again."""
        record = self.record
        budget = f"epochs={record['epochs']}" if record.get("epochs") else f"updates={record['updates']}"
        words = [f"exp={record['exp']}", f"optim={record['optim']}", f"recipe={record['recipe']}", budget]
        words += [f"scale={record['scale']}", f"batch_size={record['batch_size']}", f"seed={record['seed']}"]
        own = [text for text in of_record.overrides(record) if not text.startswith("batch_size=")]
        return "python run.py " + " ".join([*words, *map(_quoted, own)])


@dataclass(frozen=True)
class LiveRun:
    """A run under `runs/` that is not sealed: how far it is."""

    name: str
    update: int
    total: int | None


class Model:
    """What there is. Reads records once; the rest is worked out when a page asks for it."""

    def __init__(self) -> None:
        self.runs = [RunView(one, json.loads(one.record())) for one in published()]
        self.records = of_record.sealed_records()
        self.numbers: dict[str, Reported] = load_reported()
        self.of_run = {run.name: run for run in self.runs}

    @cached_property
    def tables(self) -> list[tuple[Table, dict[str, list[Result]]]]:
        """Every table of cells with its results at each scale."""
        found = []
        for name in table_names():
            table = load_table(name)
            having = scales(cell.exp for cell in table.cells)
            found.append((table, {scale: results(table, scale, self.records, self.numbers) for scale in having}))
        return found

    @cached_property
    def claims(self) -> list[claims_page.Row]:
        """Every claim at every scale, in words."""
        return claims_page.claim_rows(self.records, self.numbers)

    @cached_property
    def fair(self) -> list[tuple[Any, list[fair_comparison.Experiment]]]:
        """Every tuning with fresh seeds, and what was run of it."""
        judged = [load_tuning(name) for name in tuning_names() if load_tuning(name).fresh_seeds]
        return [(tuning, fair_comparison.collect(tuning, self.records)) for tuning in judged]

    @property
    def experiments(self) -> list[str]:
        """Every experiment, by name."""
        return names.choices("exp")

    def runs_of(self, exp: str) -> list[RunView]:
        return [run for run in self.runs if run.record["exp"] == exp]

    def live(self) -> Iterator[LiveRun]:
        """Runs under way, or stopped: those without a record."""
        for path in sorted(paths.RUNS.glob("*/config.json")) if paths.RUNS.is_dir() else ():
            events = path.parent / EVENTS
            if (path.parent / "record.json").exists() or not events.exists():
                continue
            said = [json.loads(line) for line in events.read_bytes().splitlines() if line.endswith(b"}")]
            total = next((event.get("total_updates") for event in said if event.get("kind") == "begin"), None)
            yield LiveRun(path.parent.name, max((event.get("update", 0) for event in said), default=0), total)


def released_curves(exp: str) -> list[tuple[str, str, int, Curve]]:
    """Recipe, optimizer, budget and curve of every run that the authors released for an experiment."""
    found = []
    for recipe, section in read_experiment(exp)["recipes"].items():
        for optim, entry in (section.get("optimizers") or {}).items():
            for budget, curve in ((entry or {}).get("curves") or {}).items():
                found.append((recipe, optim, budget, load_curve(curve)))
    return found


def bands(runs: Sequence[RunView], kind: str, metric: str) -> list[dict[str, Any]]:
    """Mean, lowest and highest of `metric` over runs that differ in nothing but the seed, at each update that all
    have."""
    series = [{event["update"]: event[metric] for event in run.events(kind) if metric in event} for run in runs]
    series = [one for one in series if one]
    common = sorted(set.intersection(*(set(one) for one in series))) if series else []
    rows = []
    for update in common:
        values = [float(one[update]) for one in series]
        rows.append(
            {
                "update": update,
                metric: statistics.fmean(values),
                "low": min(values),
                "high": max(values),
                "seeds": len(values),
            }
        )
    return rows


def groups(runs: Sequence[RunView]) -> dict[tuple[str, str, Any, int], list[RunView]]:
    """Runs by scale, recipe, budget and nominal batch, the largest scale first."""
    found: dict[tuple[str, str, Any, int], list[RunView]] = {}
    for run in runs:
        key = (run.record["scale"], run.record["recipe"], run.budget, run.record["batch_size"])
        found.setdefault(key, []).append(run)
    return dict(sorted(found.items(), key=lambda item: (SCALES.index(item[0][0]), *map(str, item[0][1:3]), item[0][3])))


def pages_of_results() -> list[Path]:
    """The Markdown pages that commands wrote and no other page of the site shows."""
    shown = [*(paths.RESULTS / "conformance").glob("*.md"), *(paths.RESULTS / "benchmarks").glob("*.md")]
    return sorted(path for path in shown if path.name != "README.md")


def _lines(one: Published, name: str) -> list[dict[str, Any]]:
    try:
        return [restore(json.loads(line)) for line in one.read(name).splitlines() if line]
    except (FileNotFoundError, ValueError):
        return []


def _quoted(text: str) -> str:
    return f"'{text}'" if set(text) & set(" []{}()*?&;<>|$") else text
