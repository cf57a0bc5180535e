"""The command of a run whose record or place for records is bad: a sentence, a verdict where there is one, a status."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.launch import local, several
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.schema.errors import UserError

SHORT = ["exp=vit_small", "data=digits", "batch_size=16384", "schedule.epochs=2", "schedule.warmup_epochs=1"]


def config(*overrides: str):
    (made,) = compose([*SHORT, *(overrides if "stop_at" in "".join(overrides) else ("stop_at=1updates", *overrides))])
    return made


def runs() -> list[Path]:
    return sorted(path for path in paths.RUNS.glob("*/") if path.is_dir())


def test_results_that_cannot_be_written_are_found_before_training(folders: Path, capsys):
    paths.RESULTS.write_text("")
    with pytest.raises(UserError, match=r"records cannot be written to .*ADAN_RESULTS=FOLDER"):
        local.run(config())
    with pytest.raises(UserError, match="records cannot be written"):
        several.run([config("seed=1"), config("seed=2")])
    assert runs() == []
    paths.RESULTS.unlink()
    assert local.run(config()) == 0
    (run,) = runs()
    capsys.readouterr()
    (paths.RESULTS / "records" / run.name).rename(folders / "away")
    (paths.RESULTS / "records").rmdir()
    (paths.RESULTS / "records").write_text("")
    assert local.run(config()) == 0
    again = capsys.readouterr()
    assert "verdict: none" in again.out and again.out.splitlines()[-1] == f"record: {run / 'record.json'}"
    assert again.err.count("could not be copied") == 1
    with pytest.raises(UserError, match="records cannot be written"):
        local.run(config("stop_at=2updates"))


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_record_that_nothing_stands_for(folders: Path, capsys):
    assert local.run(config("seed=1")) == 0
    (run,) = runs()
    for folder in (run, paths.RESULTS / "records" / run.name):
        record = folder / "record.json"
        record.write_text(record.read_text().replace('"update": 1,', '"update": 2,'))
    assert several.run([config("seed=1"), config("seed=2")]) == 1
    said = capsys.readouterr()
    assert "is damaged (its digest is another)" in said.out
    assert "failed: its" in said.out and len(runs()) == 2
    assert (paths.RESULTS / "records" / runs()[1].name / "record.json").exists()
