"""Tunings: what chooses the settings of optimizers, and what is judged at the chosen ones. `python run.py tune=NAME`.

The rule is fixed in `configs/tune/<name>.yaml` before the runs. A tuning has trials: the combinations of a grid
(`grids`), or as many points of each optimizer's declared space as `trials` says (`experiments.schema.spaces`), the same
points of the unit cube for all. They train at full length on a tuning seed, where there is one on a validation split,
and one metric chooses (`experiments.verdict.tuning`). With `fresh_seeds` the chosen setting is run again on them, on
all training data, at each of `budgets`: those runs are judged, trials never are. Without, a recipe takes over what was
chosen by an edit, marked `ours`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from experiments.schema import names, paths
from experiments.schema.config import RunConfig
from experiments.schema.errors import UserError, suggestion
from experiments.schema.point import Point
from experiments.schema.resolve import resolve
from experiments.schema.sources import read
from experiments.schema.spaces import space_of
from experiments.schema.studies import known_fields
from experiments.schema.task_info import info, is_read
from experiments.schema.tuning_frame import frame_values, shortened

Settings = dict[str, float]
VALIDATION = "data.validation_fraction"
BEST, REPORTED = "best", "reported"


@dataclass(frozen=True)
class Tuning:
    """`grids` has for each optimizer the values to try, by the dotted path of the setting; without them `trials` points
    of each optimizer's space are drawn, a power of two.

    Trials are compared by `metric` (None: by what the experiment selects by, else what it reports): by their `best`
    evaluation in the first `epochs` epochs at paper scale (None: in all), and in all at another, or by the value that a
    cell would have (`value: reported`). `settings` are the same in all trials, `validation_fraction` of the training
    data is what they are compared on, where the task can hold some out. `frame` names the optimizer whose settings but
    for the optimizer's own (batch, schedule, augmentation) hold for all, so that nothing else differs. `exps` and
    `optims` are planned: the family of comparisons, fixed beforehand; with `open_to_others` any other experiment or
    optimizer may be tuned by the same rule, beside it. `subject` is compared with every other optimizer, at the full
    budget and at each of `budgets`; `margins` say by how much it may fall behind and still have reached another, by the
    beginning of a metric's name.
    """

    name: str
    title: str
    exps: list[str]
    seed: int
    metric: str | None = None
    value: str = REPORTED
    recipe: str | None = None
    epochs: int | None = None
    trials: int = 0
    grids: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    optims: list[str] = field(default_factory=list)
    open_to_others: bool = False
    settings: Settings = field(default_factory=dict)
    validation_fraction: float = 0.0
    frame: str = ""
    fresh_seeds: list[int] = field(default_factory=list)
    budgets: list[str] = field(default_factory=lambda: ["1"])
    subject: str = ""
    margins: dict[str, float] = field(default_factory=dict)

    @property
    def planned(self) -> list[str]:
        """The optimizers of the plan."""
        return list(self.grids) or self.optims

    @property
    def fractions(self) -> list[Fraction]:
        """`budgets` as numbers, the largest first."""
        return sorted(map(Fraction, self.budgets), reverse=True)

    def combinations(self, optim: str, task: str = "", configs: Path = paths.CONFIGS) -> list[Settings]:
        """The settings of every trial: of a grid with the last setting varying fastest, of a space in Sobol's order."""
        if self.grids:
            grid = self.grids[optim]
            return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        ranges = space_of(optim, task, configs).ranges
        return [
            {f"optim.{key}": found.at(share) for (key, found), share in zip(ranges.items(), point, strict=True)}
            for point in quasi_random(self.trials, len(ranges))
        ]

    def limit(self, scale: str) -> int | None:
        """Epochs of a trial that count at `scale`; None for all."""
        return self.epochs if scale == "paper" else None

    def margin(self, metric: str) -> float:
        """By how much the subject may fall behind in `metric` and still have reached another; 0 where none is set."""
        return next((size for start, size in self.margins.items() if metric.startswith(start)), 0.0)


def quasi_random(n: int, dimensions: int) -> list[tuple[float, ...]]:
    """`n` points of the unit cube, a power of two: Sobol's sequence as it is (no scrambling, so the same everywhere),
    each moved to the middle of its cell of 1/n, so that in every dimension each n-th holds one point."""
    from scipy.stats.qmc import Sobol

    points = Sobol(dimensions, scramble=False).random_base2(n.bit_length() - 1)
    return [tuple(float(x) + 1 / (2 * n) for x in point) for point in points]


def tuning_names(configs: Path = paths.CONFIGS) -> list[str]:
    """Names of all tunings."""
    return names.choices("tune", configs)


@functools.cache
def load_tuning(name: str, configs: Path = paths.CONFIGS) -> Tuning:
    """The tuning of `configs/tune/<name>.yaml`. Raises UserError for an unknown name, an unknown or missing key, and
    values that make no tuning: trials that are no power of two, seeds that choose and are judged, a budget above 1."""
    names.require("tune", name, "command line", configs)
    tree, where = read(configs / "tune" / f"{name}.yaml"), f"configs/tune/{name}.yaml"
    tuning = Tuning(name=name, **known_fields(tree, Tuning, f"{where}: a tuning", given=("name",)))
    if bool(tuning.grids) == bool(tuning.trials):
        raise UserError(f"{where}: a tuning has either grids or trials")
    if not tuning.grids and (tuning.trials < 2 or tuning.trials & (tuning.trials - 1)):
        raise UserError(f"{where}: trials={tuning.trials}: must be a power of two, as Sobol's points are balanced then")
    if tuning.seed in tuning.fresh_seeds:
        raise UserError(f"{where}: seed {tuning.seed} chooses, and is among the fresh_seeds that are judged")
    if not all(0 < fraction <= 1 for fraction in tuning.fractions):
        raise UserError(f"{where}: budgets={tuning.budgets}: each is a part of the recipe's length, such as 1/2")
    if tuning.value not in (BEST, REPORTED):
        raise UserError(f"{where}: value={tuning.value}: no such choice{suggestion(tuning.value, (BEST, REPORTED))}")
    return tuning


@dataclass(frozen=True)
class Candidate:
    """One optimizer on one experiment, as a tuning takes it up: `choices` and `values` are those of its full run before
    anything is tuned, the frame included; `config` is that run."""

    tuning: Tuning
    exp: str
    optim: str
    choices: dict[str, Any]
    values: dict[str, Any]
    config: RunConfig

    def trials(self, configs: Path = paths.CONFIGS) -> list[Point]:
        """The runs that choose."""
        limit = self.tuning.limit(self.config.scale)
        stop = {} if limit is None else {"stop_at": f"{limit}epochs"}
        held_out = self.tuning.validation_fraction if is_read(VALIDATION, info(self.config.task)) else 0.0
        settings = {**self.tuning.settings, **({VALIDATION: held_out} if held_out else {})}
        return [
            Point(self.choices, {**stop, **self.values, **settings, **each, "seed": self.tuning.seed})
            for each in self.tuning.combinations(self.optim, self.config.task, configs)
        ]

    def trial_config(self, configs: Path = paths.CONFIGS) -> RunConfig:
        """The configuration of the first trial; its metrics are those of all."""
        point = self.trials(configs)[0]
        return resolve(point.choices, point.values, configs)

    def fresh(self, chosen: Settings, budget: Fraction) -> list[Point]:
        """The runs at the `chosen` setting that are judged, at a part of the full budget."""
        shorter = shortened(self.config, budget)
        values = {**self.values, **shorter, **chosen}
        return [Point(self.choices, {**values, "seed": seed}) for seed in self.tuning.fresh_seeds]


def candidates(points: Sequence[Point], configs: Path = paths.CONFIGS) -> list[Candidate]:
    """What the points of one command line ask to tune: each names a tuning, and may name an experiment and an optimizer
    of it.

    Raises UserError where the tuning has none of these, for a table beside it, and for what the tuning decides.
    """
    found = []
    for point in points:
        if "tune" not in point.choices:
            raise UserError("tune= (command line): stands for every run of a command, or for none")
        tuning = load_tuning(names.require("tune", point.choices["tune"], "command line", configs), configs)
        for key in ("table", "stage", *(() if tuning.open_to_others else ("recipe", "epochs", "updates"))):
            if key in point.choices:
                raise UserError(
                    f"{key}={point.choices[key]} (command line): not beside tune={tuning.name}; leave one out"
                )
        found += [
            candidate(tuning, exp, optim, point, configs)
            for exp in _picked(tuning, point, "exp", tuning.exps, configs)
            for optim in _picked(tuning, point, "optim", tuning.planned, configs)
        ]
    return found


def candidate(tuning: Tuning, exp: str, optim: str, point: Point, configs: Path = paths.CONFIGS) -> Candidate:
    """`optim` on `exp` with what else `point` asks for. Raises UserError for a value that the tuning decides, and for
    an experiment whose runs go on from others."""
    choices: dict[str, Any] = {**{key: value for key, value in point.choices.items() if key != "tune"}, "exp": exp}
    if tuning.recipe:
        choices["recipe"] = tuning.recipe
    frame: dict[str, Any] = {}
    if tuning.frame and optim != tuning.frame:
        batch_size, frame = frame_values({**choices, "optim": optim}, tuning.frame, point.values, configs)
        choices |= {"batch_size": batch_size} if batch_size else {}
    choices["optim"] = optim
    values = {**frame, **point.values}
    config = resolve(choices, values, configs)
    if info(config.task).parents:
        raise UserError(
            f"exp={exp} (command line): its runs go on from other runs; tune={tuning.name} cannot tune that"
        )
    decided = {"seed", *tuning.settings, *tuning.combinations(optim, config.task, configs)[0]}
    decided |= {VALIDATION} if tuning.validation_fraction else set()
    if taken := sorted(decided & point.values.keys()):
        raise UserError(
            f"{taken[0]}={point.values[taken[0]]} (command line): tune={tuning.name} decides it; leave it out, or run "
            "the experiment without tune="
        )
    return Candidate(tuning, exp, optim, choices, values, config)


def _picked(tuning: Tuning, point: Point, key: str, known: list[str], configs: Path) -> list[str]:
    if key not in point.choices:
        return known
    wanted = point.choices[key]
    if tuning.open_to_others:
        return [names.require(key, wanted, "command line", configs)]
    if wanted not in known:
        raise UserError(f"{key}={wanted} (command line): not in tune={tuning.name}{suggestion(str(wanted), known)}")
    return [wanted]
