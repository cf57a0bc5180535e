"""Sealed PPO records of a small study, with events, in the shape of the real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.schema.studies import Stage, Study

GAMES = {"ppo_halfcheetah": "HalfCheetah", "ppo_hopper": "Hopper", "ppo_swimmer": "Swimmer"}
PUBLISHED = Stage("published", list(GAMES), ["adam", "adan"], "cleanrl", 488, list(range(10)), None, "the rate 3e-4")
TUNING = Stage("tuning", list(GAMES), ["adam", "adan"], "cleanrl", 147, [100, 101], [3e-4, 1e-3, 1e-4], "the grid")
TUNED = Stage("tuned", list(GAMES), ["adam", "adan"], "cleanrl", 488, list(range(200, 210)), "tuning", "chosen rates")
STUDY = Study(
    "f2",
    "Adam against Adan",
    "episode_return",
    [PUBLISHED, TUNING, TUNED],
    "Adan is better",
    {"adam": "Adam", "adan": "Adan"},
)


def record(final: float, exp: str = "ppo_hopper", optim: str = "adam", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A finished run at paper scale of `published`; `changes` replace its fields, `rate` says `optim.lr=` beside."""
    rate = changes.pop("rate", None)
    overrides = [f"optim.lr={rate}"] if rate else []
    made = {
        "exp": exp,
        "optim": optim,
        "recipe": "cleanrl",
        "scale": "paper",
        "seed": seed,
        "epochs": 488,
        "batch_size": 64,
        "overrides": overrides,
        "config_digest": "-".join(["d", exp, optim, *overrides]),
        "status": "finished",
        "summary": {"episode_return": {"last": final, "best": final, "reported": "last"}},
        "config": {"optim": {"name": optim, "lr": rate or 3e-4}, "ppo": {"game": GAMES[exp]}},
        "python": "3.11.7",
        "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
        "hardware": {"cpu": "a processor"},
        "threads": 1,
        "wall_seconds": 3600.0,
        "split": {"seeds": [0, 1]},
        "optimizer": {"class": f"library.{optim}", "implementation": "single-tensor"},
        "data": {"engine": "mujoco", "engine_version": "4", "mujoco_version": "4", "gymnasium_version": "1"},
        "code": {"revision": "a" * 40, "diff_digest": None},
    } | changes
    name = "-".join(str(made[key]) for key in ("exp", "optim", "epochs", "recipe")) + "".join(made["overrides"])
    run = f"{name}-seed{made['seed']}"
    return {"run": run, "events": {"hash": f"end of {run}"}} | made


def arm(values: Sequence[float], exp: str, optim: str, first_seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """One record for each value, with seeds counted from `first_seed`."""
    return [record(value, exp, optim, first_seed + index, **changes) for index, value in enumerate(values)]


def write(folder: Path, made: dict[str, Any], heights: Sequence[float] = (0.25, 0.5, 1.0)) -> Path:
    """Write `made` into `<folder>/records`, with evaluations at these shares of its final return; return its file."""
    path = folder / "records" / made["run"] / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made))
    final = made["summary"]["episode_return"]["last"]
    events: list[dict[str, Any]] = [{"kind": "begin"}]
    for index, height in enumerate(heights, 1):
        events.append({"environment_steps": 1000 * index, "episode_return": height * final, "kind": "evaluation"})
    events.append({"kind": "end", "hash": made["events"]["hash"]})
    lines = (json.dumps(event, separators=(",", ":")) + "\n" for event in events)
    (path.parent / "events.jsonl").write_text("".join(lines))
    return path
