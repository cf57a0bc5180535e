"""Write the report as a static site: `python scripts/report.py`, then open results/site/index.html.

It opens from a folder, without a network or a server. `--watch` writes it again whenever records or runs have changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import checkout  # noqa: F401

from experiments.record import bundles
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.site.build import build, describe


def main() -> int:
    """Print where the front page is. Returns 2 for a user's mistake, 130 when a watch is ended by Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="folder to write to (default: results/site)")
    parser.add_argument("--watch", nargs="?", type=float, const=10.0, metavar="SECONDS", help="look again every 10 s")
    arguments = parser.parse_args()
    try:
        seen = state()
        print(describe(build(arguments.output), arguments.output), flush=True)
        while arguments.watch is not None:
            time.sleep(arguments.watch)
            if (now := state()) != seen:
                seen = now
                print(describe(build(arguments.output), arguments.output), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def state() -> dict[str, tuple[int, int]]:
    """Size and time of every file that the site is made of."""
    records = (paths.RESULTS / "records").glob("*/record.json")
    runs = paths.RUNS.glob("*/events.jsonl") if paths.RUNS.is_dir() else ()
    pages = [*paths.RESULTS.glob("*.md"), *paths.RESULTS.glob("*/*.md")]
    found = {}
    for path in (*records, *runs, *bundles.bundles(), *pages):
        try:
            found[str(path)] = (path.stat().st_mtime_ns, path.stat().st_size)
        except FileNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
