"""What is committed under `results/` is what the suite would write: records verify, tables are up to date."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from experiments.record import bundles, sharing
from experiments.record.verify import verify
from experiments.report.tables import make_tables
from experiments.schema import paths

RECORDS = sorted(path.parent.name for path in (paths.ROOT / "results" / "records").glob("*/record.json"))


@pytest.mark.parametrize("run", RECORDS)
def test_a_committed_record_verifies(run):
    assert verify(paths.ROOT / "results" / "records" / run) == []


@pytest.mark.parametrize("bundle", [path.name for path in bundles.bundles(paths.ROOT / "results")])
def test_every_record_of_a_committed_bundle_verifies(bundle):
    assert sharing.problems_of(paths.ROOT / "results" / "bundles" / bundle) == []


def test_results_stay_under_60_megabytes():
    files = subprocess.run(["git", "ls-files", "-z", "results"], cwd=paths.ROOT, capture_output=True, text=True)
    sizes = [path.stat().st_size for name in files.stdout.split("\0") if name and (path := paths.ROOT / name).exists()]
    if not sizes:
        pytest.skip("not a git checkout: which results are committed is not known")
    assert sum(sizes) < 60e6


def test_committed_tables_are_those_that_the_committed_records_give(tmp_path: Path, monkeypatch):
    results = tmp_path / "results"
    listing = subprocess.run(
        ["git", "ls-files", "results/records", "results/bundles"], cwd=paths.ROOT, capture_output=True, text=True
    )
    if not listing.stdout:
        pytest.skip("not a git checkout: which records are committed is not known")
    for name in listing.stdout.splitlines():
        copy = results / Path(name).relative_to("results")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, copy)
    monkeypatch.setenv("ADAN_RESULTS", str(results))
    monkeypatch.setattr(paths, "RESULTS", results)
    for path in make_tables():
        committed = paths.ROOT / "results" / path.relative_to(results)
        if path.parent.name == "figures":  # their bytes are those of one version of the drawing library
            assert committed.exists(), f"{committed.name} is not committed"
        else:
            assert path.read_text() == committed.read_text(), path.name


@pytest.mark.parametrize("archive", sorted(path.name for path in (paths.ROOT / "results" / "retired").glob("*.tar.xz")))
def test_retired_records_verify_too(archive, tmp_path):
    with tarfile.open(paths.ROOT / "results" / "retired" / archive) as tar:
        tar.extractall(tmp_path, filter="data")
    runs = list(tmp_path.iterdir())
    assert runs and archive in (paths.ROOT / "results" / "retired" / "README.md").read_text()
    assert {run.name: verify(run) for run in runs if verify(run)} == {}
