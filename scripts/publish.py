"""Share sealed records as one file.

    python scripts/publish.py pack NAME RECORD...        verify, and write NAME.tar.xz for a pull request or a data set
    python scripts/publish.py accept FILE                take in somebody's bundle, if all its records verify
    python scripts/publish.py unpack NAME --into runs    its runs as folders, to go on from them

A RECORD is a folder of runs/ or results/records, or a bundle. Bundles lie in results/bundles and count like the folders
of results/records; `pack --move` removes folders there that are packed. To contribute one, add the file to
results/bundles in a pull request, or put it into a Hugging Face data set:

    hf upload --repo-type dataset YOU/NAME NAME.tar.xz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import checkout  # noqa: F401

from experiments.record import bundles, sharing
from experiments.record.published import Published
from experiments.schema import paths
from experiments.schema.errors import UserError, suggestion


def main() -> int:
    """Print what was written. Returns 2 for a user's mistake, and for a bundle that is refused."""
    arguments = _arguments()
    try:
        for line in {"pack": _pack, "accept": _accept, "unpack": _unpack}[arguments.command](arguments):
            print(line)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="make a bundle of records that verify")
    pack.add_argument("name", help="of the bundle")
    pack.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="a run's folder, or a bundle")
    pack.add_argument("--output", type=Path, help="folder to write to (default: results/bundles)")
    pack.add_argument("--move", action="store_true", help="remove folders of results/records that are packed")
    accept = commands.add_parser("accept", help="take in a bundle whose records verify")
    accept.add_argument("file", type=Path)
    unpack = commands.add_parser("unpack", help="write runs of a bundle as folders")
    unpack.add_argument("name", help="of a bundle in results/bundles, or a file")
    unpack.add_argument("runs", nargs="*", help="some of its runs (default: all)")
    unpack.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    return parser.parse_args()


def _pack(arguments: argparse.Namespace) -> list[str]:
    runs = [run for path in arguments.records for run in _runs(path)]
    path = sharing.pack(arguments.name, runs, arguments.output or bundles.folder())
    if arguments.move:
        there = (paths.RESULTS / "records").resolve()
        sharing.remove_folders([run for run in runs if run.folder and run.folder.resolve().parent == there], path)
    return [f"{paths.relative(path)}: {len(runs)} runs, {path.stat().st_size:,} bytes"]


def _accept(arguments: argparse.Namespace) -> list[str]:
    path = sharing.accept(arguments.file)
    return [f"{paths.relative(path)}: all {len(bundles.records_of(path))} records verify"]


def _unpack(arguments: argparse.Namespace) -> list[str]:
    file = Path(arguments.name)
    if not file.is_file():
        known = [path.name.removesuffix(bundles.SUFFIX) for path in bundles.bundles()]
        if arguments.name not in known:
            raise UserError(f"{arguments.name}: no such file or bundle{suggestion(arguments.name, known)}")
        file = bundles.folder() / f"{arguments.name}{bundles.SUFFIX}"
    return [str(path) for path in sharing.unpack(file, arguments.into, arguments.runs)]


def _runs(path: Path) -> list[Published]:
    """The sealed runs that a path names: a run's folder, a bundle, or the folders in it."""
    if path.is_file():
        return [Published(run, bundle=path) for run in sorted(bundles.records_of(path))]
    if (path / bundles.RECORD).is_file():
        return [Published(path.resolve().name, folder=path)]
    found = [Published(file.parent.name, folder=file.parent) for file in sorted(path.glob(f"*/{bundles.RECORD}"))]
    if not found:
        raise UserError(f"{path}: no sealed record, no folder of such and no bundle")
    return found


if __name__ == "__main__":
    sys.exit(main())
