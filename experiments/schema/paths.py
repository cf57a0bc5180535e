"""Where things are: the repository, its configuration, its results and the runs.

`ADAN_RUNS` and `ADAN_RESULTS` in the environment move the two folders that runs write to, `ADAN_CACHE_DIR` the one
where prepared data are kept.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
RESULTS = Path(os.environ.get("ADAN_RESULTS", ROOT / "results")).resolve()
_CACHES = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
CACHE = Path(os.environ.get("ADAN_CACHE_DIR") or _CACHES / "adan").expanduser()
RUNS = Path(os.environ.get("ADAN_RUNS", ROOT / "runs")).resolve()


def relative(path: Path) -> str:
    """`path` as a reader of the repository would write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
