"""Searches: declared grids of the settings that no source gives, `python run.py search=NAME scale=paper`.

The rule is fixed before the runs: every combination of a grid trains with the same seed, and the best evaluation of one
metric chooses (`experiments.verdict.searching`). A recipe takes over what was chosen by an edit, marked `ours`.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from experiments.schema import names, paths
from experiments.schema.errors import UserError, suggestion
from experiments.schema.point import Point
from experiments.schema.resolve import DEFAULTS
from experiments.schema.sources import read
from experiments.schema.studies import known_fields

Settings = dict[str, float]


@dataclass(frozen=True)
class Search:
    """`grids` has for each optimizer the values to try, by the dotted path of the setting.

    Runs are compared by their best evaluation of `metric` (of what does not test) in the first `epochs` epochs at paper
    scale (None: in all), and in all at another. `settings` are the same in all runs, such as what is held out.
    """

    name: str
    title: str
    recipe: str
    metric: str
    epochs: int | None
    seed: int
    exps: list[str]
    grids: dict[str, dict[str, list[float]]]
    settings: Settings = field(default_factory=dict)

    def combinations(self, optim: str) -> list[Settings]:
        """Every combination of the optimizer's grid, the last setting varying fastest."""
        grid = self.grids[optim]
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]

    def limit(self, scale: str) -> int | None:
        """Epochs of a run that count at `scale`; None for all."""
        return self.epochs if scale == "paper" else None


def search_names(configs: Path = paths.CONFIGS) -> list[str]:
    """Names of all searches."""
    return names.choices("search", configs)


@functools.cache
def load_search(name: str, configs: Path = paths.CONFIGS) -> Search:
    """The search of `configs/search/<name>.yaml`. Raises UserError for an unknown name, and for an unknown or missing
    key of the file."""
    names.require("search", name, "command line", configs)
    tree, where = read(configs / "search" / f"{name}.yaml"), f"configs/search/{name}.yaml"
    return Search(name=name, **known_fields(tree, Search, f"{where}: a search", given=("name",)))


def expand(point: Point, configs: Path = paths.CONFIGS) -> list[Point]:
    """The runs of `search=...`, or `point` itself where it names none; `exp=` and `optim=` beside it pick some.

    Raises UserError where the search has none of these, for a table beside it, and for what the search decides.
    """
    name = point.choices.get("search")
    if name is None:
        return [point]
    search = load_search(names.require("search", name, "command line", configs), configs)
    for key in ("table", "recipe", "epochs", "updates"):
        if key in point.choices:
            raise UserError(f"{key}={point.choices[key]} (command line): not beside search={name}; leave one out")
    exps = _picked(search, point, "exp", search.exps)
    optims = _picked(search, point, "optim", list(search.grids))
    decided = {"seed", *search.settings, *(key for optim in optims for key in search.grids[optim])}
    if taken := sorted(decided & point.values.keys()):
        raise UserError(
            f"{taken[0]}={point.values[taken[0]]} (command line): search={name} decides it; leave it out, or run the "
            "experiment without search="
        )
    limit = search.limit(point.choices.get("scale", DEFAULTS["scale"]))
    stop = {} if limit is None else {"stop_at": f"{limit}epochs"}
    rest = {key: value for key, value in point.choices.items() if key != "search"}
    return [
        Point(
            {**rest, "exp": exp, "optim": optim, "recipe": search.recipe},
            {**stop, **point.values, **search.settings, **settings, "seed": search.seed},
        )
        for exp in exps
        for optim in optims
        for settings in search.combinations(optim)
    ]


def _picked(search: Search, point: Point, key: str, known: list[str]) -> list[str]:
    if key not in point.choices:
        return known
    wanted = point.choices[key]
    if wanted not in known:
        raise UserError(f"{key}={wanted} (command line): not in search={search.name}{suggestion(str(wanted), known)}")
    return [wanted]
