"""The pages into files: `results/site`, written whole or not at all, and only what has changed."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.report.identity import IDENTITIES
from experiments.schema import paths
from experiments.schema.errors import UserError

if TYPE_CHECKING:
    from experiments.site.model import Model

VEGA = "window.vegaEmbed = vegaEmbed;"  # what the bundle hands to the pages
EXTRA = ("altair", "jinja2", "markdown_it", "vl_convert")


class Built(NamedTuple):
    """How many files the site has, and which were written now."""

    files: int
    written: list[Path]


def missing_packages() -> list[str]:
    """Packages of the extra `site` that are not installed."""
    from importlib.util import find_spec

    return [name for name in EXTRA if find_spec(name) is None]


def build(output: Path | None = None) -> Built:
    """Write the site into `output` (results/site). Nothing is written before every page is made; each file is replaced
    at once, one that would not change is left, and those of an earlier site that this one has not are removed.

    Raises UserError where the extra is missing, for records that cannot be read, and for a folder that holds something
    else than a site.
    """
    if missing := missing_packages():
        raise UserError(f"the site needs {', '.join(missing)}: pip install -e '.[site]'")
    from experiments.site.model import Model

    target = output or paths.RESULTS / "site"
    _require_site(target)
    list_of_files = target / "files.json"
    before = json.loads(list_of_files.read_text()) if list_of_files.exists() else []
    files = dict(_files(Model()))  # all of it, before anything is written
    _replace(list_of_files, json.dumps(sorted({*before, *files})).encode())
    written = [target / name for name, content in files.items() if _replace(target / name, content)]
    for name in set(before) - set(files):
        (target / name).unlink(missing_ok=True)
    _replace(list_of_files, json.dumps(sorted(files)).encode())
    return Built(len(files), written)


def _files(model: Model) -> Iterator[tuple[str, bytes]]:
    import vl_convert

    from experiments.site import pages

    assets = importlib.resources.files("experiments.site") / "assets"
    yield "assets/site.css", (assets / "site.css").read_bytes()
    colours = json.dumps({one.light: one.dark for one in IDENTITIES.values()})
    yield "assets/site.js", (assets / "site.js").read_text().replace("/*COLOURS*/ {}", colours).encode()
    yield "assets/vega.js", vl_convert.javascript_bundle(VEGA).encode()
    yield "assets/THIRD_PARTY.txt", (assets / "THIRD_PARTY.txt").read_bytes()
    for figure in sorted((paths.RESULTS / "figures").glob("*.*g")):
        yield f"figures/{figure.name}", figure.read_bytes()
    for page in pages.all_pages(model):
        yield page.path, page.render().encode()


def _require_site(target: Path) -> None:
    if target.exists() and not (target / "files.json").exists() and any(target.iterdir()):
        raise UserError(f"{target} holds something else than a site: name another folder with --output")


def _replace(path: Path, content: bytes) -> bool:
    """Put `content` at `path` by a rename, unless it is there; whether it was not."""
    if path.exists() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{hashlib.sha256(str(path).encode()).hexdigest()[:12]}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return True


def describe(built: Built, output: Path | None = None) -> str:
    """One line about what was done."""
    target: Any = (output or paths.RESULTS / "site") / "index.html"
    return f"{target}: {built.files} files, {len(built.written)} written"
