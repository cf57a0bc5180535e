"""Tests share the cores: each worker of pytest-xdist, and every process that its tests start, has its part of them."""

from __future__ import annotations

import os

import pytest

workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if workers > 1:  # before anything imports torch
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_runtest_setup(item):
    """Tests marked `gpu` are skipped where there is none."""
    if item.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")
