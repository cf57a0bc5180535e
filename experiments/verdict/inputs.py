"""Where this room's facts lie: `results/reported` and `results/curves`, facts of the repository.

`ADAN_RESULTS` moves what the suite writes (records, tables). A moved results folder need not hold the facts
too: where it does not, those of the repository are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from experiments.schema import paths
from experiments.schema.errors import UserError


def folder(name: str) -> Path:
    """`results/<name>` of the chosen results folder if it is there, else the repository's own."""
    chosen = paths.RESULTS / name
    return chosen if chosen.is_dir() else paths.ROOT / "results" / name


def read_yaml(path: Path) -> Any:
    """Plain data of `path`. Raises UserError, naming the file, when it is not YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UserError(f"{paths.relative(path)}: not valid YAML: {error}") from error
