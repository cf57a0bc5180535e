"""The door: one command from a row of a paper to a verdict. `python run.py --help` lists what there is."""

from __future__ import annotations

import sys

from experiments.launch import joined
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError


def main(arguments: list[str]) -> int:
    """Compose, check, dispatch. Returns 0, 1 (a run failed), 2 (a user's mistake), 75 (requeue) or 130 (Ctrl-C)."""
    try:
        if not arguments or {"-h", "--help", "help"} & set(arguments):
            from experiments.launch import listing

            return listing.show()
        if "--optimizers" in arguments:
            from experiments.launch import listing

            return listing.show_optimizers()
        if joined.is_rank():
            return joined.run(arguments, configurations)
        from experiments.launch.dispatch import dispatch

        return dispatch(configurations(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on from the last checkpoint", file=sys.stderr)
        return 130


def configurations(arguments: list[str]) -> list[RunConfig]:
    """The configuration of each run that `arguments` ask for, composed and checked."""
    from experiments.schema.check import check
    from experiments.schema.compose import compose

    configs = compose(arguments)
    for config in configs:
        check(config)
    return configs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
