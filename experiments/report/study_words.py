"""Numbers and sentences of a study: what can be quoted from it, for whatever part of it has been run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.report.study_results import ProtocolResult, StudyResult
from experiments.schema.studies import Study
from experiments.verdict.arm_summary import Estimate
from experiments.verdict.claims import BETTER, NO_DIFFERENCE, NOT_SUPPORTED, REFUTED, SUPPORTED, TOO_FEW, WORSE, Game
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.statistics import Interval

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number(value: float, sign: bool = False) -> str:
    """A return with the digits that a spread over seeds leaves meaningful: none from 100 on, two below 10."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:{'+' if sign else ''}.{digits}f}"


def interval(ends: Interval | None, sign: bool = False) -> str:
    """`[low, high]`, both ends with the digits of the wider; empty for None."""
    if ends is None:
        return ""
    return f"[{number(ends.low, sign)}, {number(ends.high, sign)}]"


def estimate(found: Estimate) -> str:
    """A value and its interval."""
    return f"{number(found.value)} {interval(found.interval)}".rstrip()


def share(value: float) -> str:
    """A probability in two digits."""
    return f"{value:.2f}"


def p_value(p: float) -> str:
    """`0.032`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def rate(value: float | None) -> str:
    """A learning rate: `3e-4`."""
    if value is None:
        return "-"
    exponent = math.floor(math.log10(value) + 1e-9)
    return f"{value / 10**exponent:.3g}e{exponent}"


def title(study: Study) -> str:
    """`Figure 2` for the study of a figure of the paper, else its name."""
    return f"Figure {study.name[1:]}" if study.name[0] == "f" and study.name[1:].isdigit() else study.name


def counted(count: int, noun: str) -> str:
    """`one game`, `two games`, `12 games`."""
    return f"{in_words(count)} {noun}{'' if count == 1 else 's'}"


def in_words(count: int) -> str:
    """`one`, `two`, up to ten; then digits."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def games(found: Sequence[Game]) -> str:
    """The names of games, listed."""
    return listed([game.name for game in found])


def quotation(result: StudyResult) -> str:
    """The paragraph a researcher can quote: the finding under each protocol, with numbers, and how it was tested."""
    total = len(result.protocols[0].protocol.games)
    return " ".join(
        [
            _headline(result.study, result.protocols[0]),
            *(protocol_sentences(result, protocol) for protocol in result.protocols),
            "Intervals are at 95 %; tests are two-sided exact Mann-Whitney tests over seeds, at 5 % after Holm's "
            "correction over the games of a protocol. The figure's four games are named in no known source, so the "
            f"study is laid out for {counted(total, 'game')}.",
        ]
    )


def protocol_sentences(result: StudyResult, protocol: ProtocolResult) -> str:
    """What was found under one protocol, in one to three sentences."""
    judged, stage = protocol.protocol, protocol.stage
    if not judged.judged:
        waiting = " (too few seeds have ended so far)" if judged.begun else ""
        return f"Under {stage.title}, nothing can be said yet{waiting}."
    base, subject = (result.label(optim) for optim in stage.optims)
    found = [
        f"{found_in} in {games(judged.of_kind(kind))}"
        for kind, found_in in (
            (WORSE, "significantly lower"),
            (BETTER, "significantly higher"),
            (NO_DIFFERENCE, "not detectably different"),
        )
        if judged.of_kind(kind)
    ]
    seeds = _seeds(judged.judged)
    sentences = [
        f"Under {stage.title} ({seeds} of each optimizer), {subject}'s final evaluation return was, against {base}'s, "
        f"{listed(found)}: the claim is {judged.kind} ({reach(protocol)}).",
        f"Mean final returns were {listed([_means(game, base, subject) for game in judged.judged])}.",
    ]
    if protocol.across:
        across, optims = protocol.across, stage.optims
        pair = [
            f"{share(across.iqm[optim].values[0])} [{share(across.iqm[optim].low[0])}, "
            f"{share(across.iqm[optim].high[0])}] for {result.label(optim)}"
            for optim in optims
        ]
        improvement = across.improvement
        sentences.append(
            f"Over {counted(len(across.games), 'game')} together, the interquartile mean of normalised returns was "
            f"{listed(pair)}, and a run with {subject} beat one with {base} with probability "
            f"{share(improvement.values[0])} [{share(improvement.low[0])}, {share(improvement.high[0])}]."
        )
    return " ".join(sentences)


def verdict_line(protocol: ProtocolResult) -> str:
    """The verdict on the claim under one protocol, with what it rests on."""
    judged = protocol.protocol
    if judged.kind == NOT_RUN:
        begun = judged.of_kind(TOO_FEW)
        return f"not run: too few seeds yet in {games(begun)}" if begun else "not run"
    parts = [
        f"{what} in {games(judged.of_kind(kind))}"
        for kind, what in ((WORSE, "worse"), (BETTER, "better"), (NO_DIFFERENCE, "no difference detected"))
        if judged.of_kind(kind)
    ]
    return f"{judged.kind} ({reach(protocol)}): {'; '.join(parts)}"


def _headline(study: Study, first: ProtocolResult) -> str:
    claim, under = f"The claim of {title(study)} that {study.claim}", f"under {first.stage.title}"
    return {
        NOT_RUN: f"{claim} has not been tested here yet.",
        REFUTED: f"{claim} does not hold here {under}.",
        SUPPORTED: f"{claim} holds here {under}, {reach(first)}.",
        NOT_SUPPORTED: f"{claim} is not supported here {under}: it is neither confirmed in every game judged nor "
        "contradicted in any.",
    }[first.protocol.kind]


def reach(protocol: ProtocolResult) -> str:
    """How far a verdict reaches: `two of eight games judged`."""
    judged, total = len(protocol.protocol.judged), len(protocol.protocol.games)
    if judged == total:
        return f"all {counted(total, 'game')} judged" if total > 1 else "the one game judged"
    return f"{in_words(judged)} of {counted(total, 'game')} judged"


def _seeds(judged: Sequence[Game]) -> str:
    counts = sorted({arm.n for game in judged for arm in (game.baseline, game.subject)})
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _means(game: Game, base: str, subject: str) -> str:
    assert game.comparison is not None
    mean = sum(game.baseline.values) / game.baseline.n
    return (
        f"{number(mean + game.comparison.difference)} ({subject}) and {number(mean)} ({base}) in {game.name} "
        f"(difference {number(game.comparison.difference, sign=True)} {interval(game.comparison.interval, sign=True)}, "
        f"P({subject} > {base}) = {share(game.comparison.probability)}, p = {p_value(game.adjusted or 0.0)})"
    ).replace("p = <", "p <")
