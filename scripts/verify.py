"""Check sealed records: `python scripts/verify.py [RECORD...]` (default: everything in results/records).

A RECORD is a record.json, a run directory or a copy of one, or a folder of such. Prints one line per record, and
below it what was altered. Exit status: 0 all good, 1 some are not, 2 there is no record to check.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import checkout  # noqa: F401

from experiments.record.seal import load_record
from experiments.record.verify import verify
from experiments.schema import paths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", type=Path, default=[paths.RESULTS / "records"], metavar="RECORD")
    bad = checked = 0
    for path in parser.parse_args().records:
        found = records_at(path)
        if not found:
            print(f"error: no record at {path}", file=sys.stderr)
            return 2
        for record in found:
            problems = verify(record)
            print(f"{'BAD' if problems else 'ok '}  {describe(record)}")
            for problem in problems:
                print(f"       {problem}")
            checked, bad = checked + 1, bad + bool(problems)
    print(f"{checked} checked, {bad} bad")
    return 1 if bad else 0


def records_at(path: Path) -> list[Path]:
    """The records that `path` names: itself, the one that belongs in it, or those of the run folders in it."""
    if path.is_file():
        return [path]
    if (path / "config.json").exists() or (path / "record.json").exists():
        return [path / "record.json"]
    return sorted(file.parent / "record.json" for file in path.glob("*/config.json"))


def describe(path: Path) -> str:
    """Folder, status, progress and reported metrics of a record, as far as it can be read."""
    try:
        record = load_record(path)
        progress = record["progress"]
        values = "  ".join(f"{name} {show(value[value['reported']])}" for name, value in record["summary"].items())
        return f"{path.parent.name}  {record['status']} {progress['update']}/{progress['total_updates']}  {values}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return path.parent.name


def show(value: float | None) -> str:
    """A metric in six digits."""
    return "none" if value is None else f"{value:.6g}"


if __name__ == "__main__":
    sys.exit(main())
