"""Write results/random_policy/returns.yaml: what uniformly random actions get in each game (seconds a game, one core).

Figure 2's normalised returns take it as zero. Nothing is written when a game cannot be played.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import checkout  # noqa: F401
import yaml

from experiments.environments import names, random_policy
from experiments.environments.simulator import versions
from experiments.schema import paths
from experiments.schema.errors import UserError

HEADER = (
    "# Written by scripts/measure_random_policy.py; not to be edited. Returns of whole episodes, undiscounted, under\n"
    "# actions drawn uniformly from the action space; episode i is the first of an environment seeded with i.\n"
)


def main() -> int:
    """Print the path of the file. Returns 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=random_policy.EPISODES)
    episodes = parser.parse_args().episodes
    try:
        games = {game: _measured(game, episodes) for game in names()}
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tree = {"episodes": episodes, "environments": "gymnasium's -v4", **versions(), "games": games}
    path = paths.RESULTS / "random_policy" / "returns.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    print(path)
    return 0


def _measured(game: str, episodes: int) -> dict[str, Any]:
    returns, lengths = random_policy.play(game, episodes)
    return {
        "mean_return": round(float(returns.mean()), 3),
        "standard_deviation": round(float(returns.std(ddof=1)), 3),
        "mean_length": round(float(lengths.mean()), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
