"""Write results/tables from the sealed records: `python scripts/make_tables.py` for all, `... t4 t7` for some."""

from __future__ import annotations

import argparse
import sys

from experiments.report.tables import make_tables
from experiments.schema.errors import UserError


def main() -> int:
    """Print the path of every file written. Returns 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", help="names of tables (configs/table); all without one")
    try:
        for path in make_tables(parser.parse_args().tables):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
