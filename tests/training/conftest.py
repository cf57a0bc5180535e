from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import SMALL

from experiments import tasks
from experiments.record.run_directory import RunDirectory
from experiments.schema.batches import micro_batch
from experiments.schema.compose import compose
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Create the run directory of the small run, with overrides, under a folder of its own."""
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))

    def create(folder: str, *overrides: str) -> Path:
        given = {override.split("=")[0] for override in overrides}
        (config,) = compose([*(text for text in SMALL if text.split("=")[0] not in given), *overrides])
        return RunDirectory.open_or_create(tmp_path / folder, config).path

    return create


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Begin a run whose losses are read every so many updates, in this process."""
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the worker would, by launch.threads

    @contextmanager
    def begin(updates: int, config, task=None):
        config = replace(config, launch=replace(config.launch, updates_between_reads=updates))
        directory = RunDirectory.open_or_create(tmp_path / f"every-{updates}", config)
        part = Part(micro_batch=micro_batch(config, 1))
        with directory.hold(), Interruption() as interruption:
            run = Run([(config, directory)], task or tasks.build(config, part), part)
            run.resume()
            yield run, interruption
            run.journal.close()

    yield begin
    torch.set_num_threads(threads)
