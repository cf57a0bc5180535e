"""Write results/tables from the sealed records: `python scripts/make_tables.py` for all, `... t4 f2` for some.

A study (f2) is written with its figures and its page; that needs the extra `figures`.
"""

from __future__ import annotations

import argparse
import sys

import checkout  # noqa: F401

from experiments.report import study
from experiments.report.tables import make_tables
from experiments.schema.errors import UserError
from experiments.schema.studies import study_names


def main() -> int:
    """Print the path of every file written. Returns 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help="names of tables (configs/table); all without one")
    try:
        names = parser.parse_args().tables
        for path in make_tables(names):
            print(path)
        for sentence in filter(None, (study.skipped(name) for name in study_names() if not names)):
            print(sentence, file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
