"""The tables of a study, laid out once for Markdown and LaTeX."""

from __future__ import annotations

from experiments.report.grid import ABSENT, Grid, Row
from experiments.report.study_results import ProtocolResult, StudyResult, arms
from experiments.report.study_words import band, estimate, number, p_value, rate, share, with_interval
from experiments.schema.studies import Stage
from experiments.verdict.claims import Game
from experiments.verdict.tuning import FAILED


def verdicts(result: StudyResult, protocol: ProtocolResult) -> Grid:
    """One line a game: means, their difference, probability of improvement, p and the verdict."""
    base, subject = (result.label(optim) for optim in protocol.stage.optims)
    columns = (
        f"mean, {base}",
        f"mean, {subject}",
        f"difference ({subject} - {base})",
        f"P({subject} > {base})",
        "p",
        "p (Holm)",
        "smallest detectable difference",
    )
    rows = [Row(game.name, game.kind, _verdict(protocol, game)) for game in protocol.protocol.games]
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
    """Up to two lines a game: the mean return at each rate of the grid, and the rate that was chosen."""
    rates = sorted(grid.lr) if isinstance(grid.lr, list) else []
    columns = (*((rate(value),) for value in rates), ("chosen",))
    rows = []
    for game in protocol.protocol.games:
        label = game.name
        for arm in arms(game):
            choice = protocol.protocol.choices.get((arm.exp, arm.optim))
            if choice is None:
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


def _verdict(protocol: ProtocolResult, game: Game) -> tuple[str, ...]:
    summaries = [protocol.summary(arm) for arm in arms(game)]
    means = tuple(estimate(summary.mean) if summary else ABSENT for summary in summaries)
    if game.comparison is None or game.adjusted is None or game.detectable is None:
        return (*means, *[ABSENT] * 5)
    comparison, improvement = game.comparison, protocol.improvements[game.exp]
    ends = improvement.interval
    return (
        *means,
        with_interval(comparison.difference, comparison.interval, sign=True),
        f"{share(improvement.value)} [{share(ends.low)}, {share(ends.high)}]" if ends else share(improvement.value),
        p_value(comparison.p),
        p_value(game.adjusted),
        number(game.detectable),
    )


def _tuning_mean(value: float) -> str:
    return "no finite return" if value == FAILED else number(value)
