"""A site of a few real records, built once, and a real browser to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.record import bundles, sharing
from experiments.schema import paths
from experiments.site.build import build

RUNS = ("vit_small-adan-mini-0290*", "vit_small-adamw-mini-*", "ptb_lstm_1-sgd-paper-*", "resnet18-sgd-mini-*")
PPO = [
    f"ppo_halfcheetah-{arm}-seed{seed}"
    for arm in ("adam-paper-390c5a63e8f7", "adan-paper-e4426fd92a7a")
    for seed in (0, 1)
]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def site_results(tmp_path_factory) -> Path:
    """A results folder with the facts, the figures and some records of this checkout."""
    results, here = tmp_path_factory.mktemp("site") / "results", paths.ROOT / "results"
    for name in ("reported", "curves", "random_policy", "conformance", "benchmarks", "figures"):
        shutil.copytree(here / name, results / name)
    for name in ("figure2.md", "fair_comparison.md", "performance_profiles.md", "imported.md"):
        shutil.copy(here / name, results / name)
    for pattern in RUNS:
        for path in (here / "records").glob(pattern):
            shutil.copytree(path, results / "records" / path.name)
    sharing.unpack(bundles.folder(here) / "ppo_halfcheetah.tar.xz", results / "records", PPO)
    return results


@pytest.fixture(scope="session")
def site(site_results) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", site_results)
        patch.setattr(paths, "RUNS", site_results.parent / "runs")
        build()
        yield site_results / "site"


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()
