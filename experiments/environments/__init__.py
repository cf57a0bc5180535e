"""MuJoCo games as vector environments: n rows, each an environment of its own with its own generator.

Two engines play the same eight games by the same rules (gymnasium's `-v4`) and give the same bits:

- `mujoco`, ours: all rows in one call of mujoco's batch API, the rules in numpy over rows (`batched`, `games`);
- `gymnasium`, the plain alternative: one gymnasium environment for each row, in a loop (`looped`).

`normalization` holds the running normalisers of observations and rewards. Importing this package imports neither torch
nor a simulator.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.environments.games import GAMES
from experiments.environments.vector_environment import Step, VectorEnvironment
from experiments.schema.errors import UserError, suggestion

__all__ = ["ENGINES", "Step", "VectorEnvironment", "check", "identity", "make", "names"]

ENGINES = ("mujoco", "gymnasium")


def names() -> list[str]:
    """Games that can be named: gymnasium's names without their version."""
    return sorted(GAMES)


def check(game: str, engine: str) -> None:
    """Raise UserError when the game or the engine is unknown, or the engine is not installed. Loads no simulator."""
    if game not in GAMES:
        raise UserError(f"there is no game {game!r}{suggestion(game, names())}")
    if engine not in ENGINES:
        raise UserError(f"there is no engine {engine!r} for environments{suggestion(engine, ENGINES)}")
    from experiments.environments import simulator

    simulator.check_installed(engine)


def identity(game: str, engine: str) -> dict[str, str]:
    """Return what of `game` and `engine` decides the numbers of a run, in names and versions. Loads no simulator."""
    from experiments.environments import simulator

    return simulator.identity(game, engine)


def make(game: str, engine: str, seeds: Sequence[int], threads: int = 1) -> VectorEnvironment:
    """Make `len(seeds)` rows of `game`; row i starts as `gymnasium.make(...).reset(seed=seeds[i])` does.

    What a row does depends on its seed and its actions alone: not on the other rows, nor on `threads`.

    Raises UserError when the game or the engine is unknown (with the nearest choice), when the engine is not installed
    (with what to install), and when threads are asked of an engine that has none.
    """
    check(game, engine)
    from experiments.environments import simulator

    simulator.load_mujoco()
    if engine == "gymnasium":
        from experiments.environments.looped import LoopedEnvironment

        if threads != 1:
            raise UserError(
                f"engine 'gymnasium' steps its rows in turn: threads={threads} must be 1, or engine 'mujoco'"
            )
        return LoopedEnvironment(game, seeds)
    from experiments.environments.batched import BatchedEnvironment

    return BatchedEnvironment(game, seeds, threads)
