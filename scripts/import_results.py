"""Import results of somebody else's as marked rows: results/imported, and with make_tables.py results/imported.md.

    python scripts/import_results.py timm OUTPUT_FOLDER --name NAME          summary.csv and args.yaml
    python scripts/import_results.py tensorboard FOLDER --name NAME          event files
    python scripts/import_results.py wandb ENTITY/PROJECT/RUN --name NAME    online, through the API
    python scripts/import_results.py wandb wandb/offline-run-... --name NAME
    python scripts/import_results.py table FILE.csv --name NAME --column Epoch=epoch --column Acc=top1

`--column THEIRS=OURS` maps columns, `--about KEY=VALUE` says what a source does not (optimizer, lr, seed, hardware,
...). An imported row never enters a verdict.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import checkout  # noqa: F401

from experiments.imports import event_files, tables_of_numbers, wandb_runs
from experiments.imports.imported import Imported, save
from experiments.schema import paths
from experiments.schema.errors import UserError


def main() -> int:
    """Print the folder that was written, and what is unknown of the run. Returns 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=["timm", "tensorboard", "wandb", "table"])
    parser.add_argument("source")
    parser.add_argument("--name", required=True, help="of the imported run")
    parser.add_argument("--column", action="append", default=[], metavar="THEIRS=OURS")
    parser.add_argument("--about", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    try:
        run = _read(arguments, _pairs(arguments.column, "--column"), _pairs(arguments.about, "--about"))
        print(paths.relative(save(run)))
        print(
            f"{len(run.rows)} evaluations of {', '.join(run.metrics)}; unknown: {', '.join(run.unknown) or 'nothing'}"
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _read(arguments: argparse.Namespace, columns: dict[str, str], about: dict[str, str]) -> Imported:
    name, path = arguments.name, Path(arguments.source)
    if arguments.format == "timm":
        return tables_of_numbers.timm_run(path, name, about)
    if arguments.format == "table":
        return tables_of_numbers.mapped(path, name, columns, about)
    if arguments.format == "tensorboard":
        return event_files.tensorboard_run(path, name, columns, about)
    if path.exists():
        return wandb_runs.offline_run(path, name, columns, about)
    return wandb_runs.online_run(arguments.source, name, columns, about)


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise UserError(f"{option} {text}: expected two words with = between them")
    return dict(text.split("=", 1) for text in texts)


if __name__ == "__main__":
    sys.exit(main())
