"""Find out what ran and on what: code, packages, hardware. It imports no torch, and leaves out names of people, hosts
and folders, because records are committed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.schema import paths
from experiments.schema.errors import UserError

CODE = ("experiments", "adan", "configs", "scripts", "run.py")  # what can change a number
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "hydra-core",
    "omegaconf",
    "pytorch_optimizer",
    "scipy",
    "scikit-learn",
    "mlxtend",
    "transformers",
    "tokenizers",
    "datasets",
    "wandb",
    "rich",
)
REVISION = "ADAN_REVISION"
_LOCAL = "<local>"


@cache
def code() -> dict[str, str | None]:
    """`revision` of the checkout (None when this is none) and `diff_digest` of what is not committed (None if clean).

    Asked once per process, at its start: files may change while a run goes on, the code in memory does not. Raises
    UserError as `code_of` does.
    """
    return code_of(Path(paths.ROOT))


def code_of(root: Path) -> dict[str, str | None]:
    """`code` of any checkout. The digest covers name and content of every tracked file of `CODE` that differs from
    the revision, of every untracked one that git does not ignore, and the names of those removed.

    Where git knows no revision, `ADAN_REVISION` in the environment says it, with `-dirty` after it for changes that
    were not committed, and `said_by` tells of it. Raises UserError where that is no revision, or not git's.
    """
    said = _said_revision()
    top, head = _git(root, "rev-parse", "--show-toplevel"), _git(root, "rev-parse", "HEAD")
    if not top or not head or Path(os.fsdecode(top.strip())).resolve() != root.resolve():
        return said or {"revision": None, "diff_digest": None}  # no checkout, or one of something that contains us
    revision = head.decode().strip()
    if said and not revision.startswith(said["revision"] or ""):
        raise UserError(
            f"{REVISION}={os.environ[REVISION]} (environment): git says that this checkout is at {revision}; unset "
            f"{REVISION}, which is for code without git"
        )
    changed = _git(root, "diff", "--name-only", "--no-renames", "--no-relative", "-z", "HEAD", "--", *CODE)
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE)
    names = sorted({name for name in ((changed or b"") + (untracked or b"")).split(b"\0") if name})
    digest = hashlib.sha256()
    for name in names:
        path = root / os.fsdecode(name)
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "removed"
        digest.update(name + b"\0" + content.encode() + b"\0")
    return {"revision": revision, "diff_digest": digest.hexdigest() if names else None}


def _said_revision() -> dict[str, str | None] | None:
    """What the environment says; None where it says nothing."""
    said = os.environ.get(REVISION)
    if not said:
        return None
    match = re.fullmatch(r"([0-9a-f]{7,40})(-dirty)?", said)
    if match is None:
        raise UserError(
            f"{REVISION}={said} (environment): no revision; give what `git rev-parse HEAD` says, 7 to 40 hexadecimal "
            "digits, with -dirty after them for changes that are not committed"
        )
    return {"revision": match[1], "diff_digest": "unknown" if match[2] else None, "said_by": REVISION}


def _git(root: Path, *arguments: str) -> bytes | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", *arguments], cwd=root, env=environment, capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@cache
def packages() -> dict[str, str]:
    """Versions of the installed packages among `PACKAGES`, read from their metadata."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware(accelerator: Any = None) -> dict[str, Any]:
    """The machine: `cpu` model, `cores` this process may use, `memory_bytes`, `accelerator` as the caller names it,
    `platform` (system, release, machine)."""
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "accelerator": accelerator,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def cpu_name() -> str:
    """The model of the processor, as the system calls it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def without_local_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Copy of a configuration with folders of this machine replaced by `<local>`: those of `data`, of what a run
    inherits, and of overrides.

    None of them is part of a run's identity, so the digest of the configuration stays the same.
    """
    data = {key: _without(value) if key in ("root", "hub", "cache") else value for key, value in config["data"].items()}
    overrides = [re.sub(r"""(=\s*['"]?)[/~].*""", rf"\1{_LOCAL}", override) for override in config["overrides"]]
    inherited: dict[str, Any] = {key: _without(config[key]) for key in ("parent", "init") if key in config}
    if "text" in config:
        inherited["text"] = {**config["text"], "tokenizer": _without(config["text"].get("tokenizer"))}
    return {**config, **inherited, "data": data, "overrides": overrides}


def _without(value: Any) -> Any:
    return _LOCAL if isinstance(value, str) and value.startswith(("/", "~")) else value
