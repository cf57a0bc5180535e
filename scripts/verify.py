"""Check sealed records: `python scripts/verify.py [RECORD...]` (default: everything in results/records and
results/bundles).

A RECORD is a record.json, a run directory or a copy of one, a bundle, or a folder of such. Prints one line per record,
and below it what was altered. Exit status: 0 all good, 1 some are not, 2 there is no record to check.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import checkout  # noqa: F401

from experiments.record import bundles
from experiments.record.canonical import restore
from experiments.record.published import Published
from experiments.record.verify import verify, verify_files
from experiments.schema import paths
from experiments.schema.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD")
    bad = checked = 0
    for path in parser.parse_args().records or [paths.RESULTS / "records", *bundles.bundles()]:
        try:
            found = checks_at(path)
        except UserError as error:
            print(f"BAD  {path.name}\n       {error}")
            checked, bad = checked + 1, bad + 1
            continue
        if not found:
            print(f"error: no record at {path}", file=sys.stderr)
            return 2
        for described, problems in found:
            print(f"{'BAD' if problems else 'ok '}  {described}")
            for problem in problems:
                print(f"       {problem}")
            checked, bad = checked + 1, bad + bool(problems)
    print(f"{checked} checked, {bad} bad")
    return 1 if bad else 0


def checks_at(path: Path) -> list[tuple[str, list[str]]]:
    """What each record that `path` names says of itself, and what is wrong with it. Raises BadBundle."""
    if path.name.endswith(bundles.SUFFIX):
        runs = [Published(run, bundle=path) for run in bundles.files_of(path)]
        return [(describe(run.record(), run.name), verify_files(run.read)) for run in runs]
    if path.is_dir() and not any(path.glob("*/config.json")) and (packed := sorted(path.glob(f"*{bundles.SUFFIX}"))):
        return [check for each in packed for check in checks_at(each)]
    return [(_described(record), verify(record)) for record in records_at(path)]


def records_at(path: Path) -> list[Path]:
    """The records that `path` names: itself, the one that belongs in it, or those of the run folders in it."""
    if path.is_file():
        return [path]
    if (path / "config.json").exists() or (path / "record.json").exists():
        return [path / "record.json"]
    return sorted(file.parent / "record.json" for file in path.glob("*/config.json"))


def _described(path: Path) -> str:
    try:
        return describe(path.read_bytes(), path.parent.name)
    except OSError:
        return path.parent.name


def describe(content: bytes, name: str) -> str:
    """Folder, status, progress and reported metrics of a record, as far as it can be read."""
    try:
        record = restore(json.loads(content))
        progress = record["progress"]
        values = "  ".join(f"{name} {show(value[value['reported']])}" for name, value in record["summary"].items())
        return f"{name}  {record['status']} {progress['update']}/{progress['total_updates']}  {values}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return name


def show(value: float | None) -> str:
    """A metric in six digits."""
    return "none" if value is None else f"{value:.6g}"


if __name__ == "__main__":
    sys.exit(main())
