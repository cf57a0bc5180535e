from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import gpu_kernel_checks as checks
import pytest
from forked_torch import ForkedTorch


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Processes of their own that begin with torch loaded."""
    with ForkedTorch(tmp_path_factory.mktemp("output")) as forked:
        yield forked


@pytest.fixture(scope="module")
def interpreter():
    """One process in which Triton interprets: it decides at import, so this process could do nothing else then."""
    checks.require_interpreter()
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=checks.interpret) as pool:
        yield pool


@pytest.fixture(params=["interpreted", pytest.param("cuda", marks=checks.ON_GPU)])
def passes(request):
    """Runs a check of `gpu_kernel_checks` with its arguments on a device; AssertionError where it fails."""
    if request.param == "cuda":
        return lambda check, *arguments: check("cuda", *arguments)
    pool = request.getfixturevalue("interpreter")
    return lambda check, *arguments: pool.submit(check, "cpu", *arguments).result(timeout=300)
