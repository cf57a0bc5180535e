"""The door: one command from a row of a paper to a verdict. `python run.py --help` lists what there is."""

from __future__ import annotations

import sys

from experiments.launch import surroundings
from experiments.schema.errors import UserError


def main(arguments: list[str]) -> int:
    """Compose, check, dispatch. Returns 0, 1 (a run failed), 2 (a user's mistake), 75 (requeue) or 130 (Ctrl-C)."""
    try:
        status, trains = _answer(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on from the last checkpoint", file=sys.stderr)
        return 130
    lost = surroundings.lost_output()
    if trains or lost is None or isinstance(lost, BrokenPipeError):  # who reads, such as `head`, has seen enough
        return status
    print(f"error: standard output could not be written: {lost.strerror}", file=sys.stderr)
    return 1


def _answer(arguments: list[str]) -> tuple[int, bool]:
    """The exit status, and whether records say what standard output said."""
    if not arguments or {"-h", "--help", "help"} & set(arguments):
        from experiments.launch import listing

        return listing.show(), False
    if "--optimizers" in arguments:
        from experiments.launch import listing

        return listing.show_optimizers(), False
    from experiments.launch import joined

    if joined.is_rank():
        return joined.run(arguments), True
    from experiments.schema.overrides import parse
    from experiments.schema.study_points import ask_for_a_study

    points = parse(arguments)
    trains = points[0].choices.get("launch") != "plan"
    if any("tune" in point.choices for point in points):
        from experiments.launch import tuning

        return tuning.run(points), trains
    if ask_for_a_study(points):
        from experiments.launch import stages

        return stages.run(points), trains
    from experiments.launch.configurations import configurations
    from experiments.launch.dispatch import dispatch
    from experiments.schema.compose import expand

    return dispatch(configurations(expand(points))), trains


if __name__ == "__main__":
    surroundings.settle()  # before anything that takes time is imported
    sys.exit(main(sys.argv[1:]))
