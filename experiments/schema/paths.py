"""Where things are: the repository, its configuration, its results and the runs.

`ADAN_RUNS` and `ADAN_RESULTS` in the environment move the two folders that runs write to, `ADAN_CACHE_DIR` the one
where prepared data are kept.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def _cache() -> Path:
    """The folder for prepared data; for a user without a home directory one of their own for temporary files."""
    if chosen := os.environ.get("ADAN_CACHE_DIR"):
        return Path(os.path.expanduser(chosen)).resolve()  # which leaves a ~ that means nothing  # noqa: PTH111
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "adan"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"adan-{os.getuid()}"


ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
RESULTS = Path(os.environ.get("ADAN_RESULTS", ROOT / "results")).resolve()
CACHE = _cache()
RUNS = Path(os.environ.get("ADAN_RUNS", ROOT / "runs")).resolve()


def relative(path: Path) -> str:
    """`path` as a reader of the repository would write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
