"""The door: one command from a row of a paper to a verdict. `python run.py --help` lists what there is."""

from __future__ import annotations

import os
import sys

from experiments.launch import joined
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError


def main(arguments: list[str]) -> int:
    """Compose, check, dispatch. Returns 0, 1 (a run failed), 2 (a user's mistake), 75 (requeue) or 130 (Ctrl-C)."""
    trains = False
    try:
        if not arguments or {"-h", "--help", "help"} & set(arguments):
            from experiments.launch import listing

            return listing.show()
        if "--optimizers" in arguments:
            from experiments.launch import listing

            return listing.show_optimizers()
        if joined.is_rank():
            return joined.run(arguments, configurations)
        from experiments.schema.overrides import parse
        from experiments.schema.study_points import ask_for_a_study

        points = parse(arguments)
        trains = points[0].choices.get("launch") != "plan"
        if ask_for_a_study(points):
            from experiments.launch import stages

            status = stages.run(points)
        else:
            from experiments.launch.dispatch import dispatch

            status = dispatch(configurations(arguments))
        print(end="", flush=True)
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails again, at its exit
        return 1 if trains else 0
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on from the last checkpoint", file=sys.stderr)
        return 130


def configurations(arguments: list[str]) -> list[RunConfig]:
    """The configuration of each run that `arguments` ask for, composed, checked, and with what it inherits."""
    from experiments.launch.inheritance import inherit
    from experiments.schema.check import check
    from experiments.schema.compose import compose

    configs = compose(arguments)
    for config in configs:
        check(config)
    return inherit(configs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
