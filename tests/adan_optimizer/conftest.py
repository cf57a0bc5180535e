from __future__ import annotations

import pytest
from forked_torch import ForkedTorch


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Processes of their own that begin with torch loaded."""
    with ForkedTorch(tmp_path_factory.mktemp("output")) as forked:
        yield forked
