"""The tables of a study, laid out once for Markdown and LaTeX."""

from __future__ import annotations

from statistics import fmean

from experiments.report.grid import ABSENT, Grid, Row
from experiments.report.study_results import ProtocolResult, StudyResult, arms
from experiments.report.study_words import band, estimate, number, p_value, rate, shares, with_interval
from experiments.schema.studies import Stage
from experiments.verdict.claims import UNFINISHED, Game, Protocol
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.tuning import FAILED


def verdicts(result: StudyResult, protocol: Protocol) -> Grid:
    """One line a game: the probability that is judged, its p and the verdict, and the means beside."""
    base, subject = (result.label(optim) for optim in protocol.stage.optims)
    level = f"{100 * protocol.level:.3g} %"
    columns = (
        f"P({subject} > {base}), {level} interval",
        "p",
        "p (Holm)",
        f"mean, {base}",
        f"mean, {subject}",
        f"difference of means, {level} interval",
    )
    rows = [Row(game.name, _kind(game), _verdict(game)) for game in protocol.games]
    return Grid("game", tuple((column,) for column in columns), tuple(rows))


def returns(result: StudyResult, protocol: ProtocolResult) -> Grid:
    """Up to two lines a game: the rate, seeds and final returns of each optimizer, and the height of its curve."""
    columns = (("learning rate",), ("seeds",), ("mean",), ("interquartile mean",), ("mean over training",))
    rows = []
    for game in protocol.protocol.games:
        label = game.name
        for arm in arms(game):
            summary = protocol.summary(arm)
            if summary is None:
                continue
            seeds = f"{arm.n}" if arm.complete else f"{arm.n} of {len(arm.planned)}"
            texts = (rate(arm.rate), seeds, estimate(summary.mean), estimate(summary.iqm), estimate(summary.area))
            rows.append(Row(label, result.label(arm.optim), texts))
            label = ""
    return Grid("game", columns, tuple(rows))


def chosen_rates(result: StudyResult, protocol: ProtocolResult, grid: Stage) -> Grid:
    """Two lines a game: the mean return at each rate of the grid, and the rate that was chosen."""
    rates = sorted(grid.lr) if isinstance(grid.lr, list) else []
    columns = (*((rate(value),) for value in rates), ("chosen",))
    rows = []
    for game in protocol.protocol.games:
        label = game.name
        for arm in arms(game):
            choice = protocol.protocol.choices.get((arm.exp, arm.optim))
            if choice is None:
                rows.append(Row(label, result.label(arm.optim), (*[ABSENT] * len(rates), NOT_RUN)))
                label = ""
                continue
            chosen = "none, every rate failed" if choice.rate is None else rate(choice.rate)
            remark = f" ({choice.at_edge} of the grid)" if choice.at_edge else ""
            means = (_tuning_mean(choice.means[value]) for value in rates)
            rows.append(Row(label, result.label(arm.optim), (*means, f"{chosen}{remark}")))
            label = ""
    return Grid("game", columns, tuple(rows))


def across_games(result: StudyResult, protocol: ProtocolResult) -> Grid:
    """Aggregates of normalised returns: one line an optimizer, and the probability of improvement."""
    across = protocol.across
    assert across is not None
    base, subject = protocol.stage.optims
    games = {game.name: game for game in protocol.protocol.games}
    runs = {
        optim: sum(arms(games[name])[index].n for name in across.games) for index, optim in enumerate((base, subject))
    }
    rows = [
        Row(result.label(optim), f"{runs[optim]} runs", (band(across.iqm[optim]), band(across.mean[optim]), ABSENT))
        for optim in (base, subject)
    ]
    label = f"P({result.label(subject)} > {result.label(base)})"
    rows.append(Row(label, f"{len(across.games)} games", (ABSENT, ABSENT, band(across.improvement))))
    return Grid("", (("interquartile mean",), ("mean",), ("mean over games",)), tuple(rows))


def _kind(game: Game) -> str:
    """The verdict; that of a game whose seeds have not all ended says how many have."""
    if game.kind != UNFINISHED:
        return game.kind
    return f"{UNFINISHED}, " + " and ".join(f"{len(arm.ranked)} of {len(arm.planned)}" for arm in arms(game))


def _verdict(game: Game) -> tuple[str, ...]:
    means = tuple(number(fmean(arm.values)) if arm.n else ABSENT for arm in arms(game))
    if game.comparison is None or game.adjusted is None:
        return (*[ABSENT] * 3, *means, ABSENT)
    found = game.comparison
    difference = ABSENT
    if found.difference is not None:
        difference = with_interval(found.difference, found.difference_interval, sign=True)
    return (shares(found.probability, found.interval), p_value(found.p), p_value(game.adjusted), *means, difference)


def _tuning_mean(value: float) -> str:
    return "no finite return" if value == FAILED else number(value)
