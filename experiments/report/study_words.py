"""Numbers and sentences of a study: what can be quoted from it, for whatever part of it has been run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.report.study_results import ProtocolResult, StudyResult, arms, below_untuned
from experiments.schema.studies import Study
from experiments.verdict.across_games import Band
from experiments.verdict.arm_summary import Estimate
from experiments.verdict.claims import BETTER, NO_DIFFERENCE, NOT_SUPPORTED, REFUTED, SUPPORTED, TOO_FEW, WORSE, Game
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.statistics import Interval

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number(value: float, sign: bool = False, beside: Interval | None = None) -> str:
    """A return with the digits that a spread over seeds leaves meaningful: none from 100 on, two below 10; those of
    the largest where an interval stands beside it."""
    size = max(abs(part) for part in (value, *((beside.low, beside.high) if beside else ())))
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:{'+' if sign else ''}.{digits}f}"


def with_interval(value: float, ends: Interval | None, sign: bool = False) -> str:
    """`1620 [1486, 1754]`; the value alone without an interval."""
    if ends is None:
        return number(value, sign)
    wide = Interval(min(ends.low, value), max(ends.high, value))
    return f"{number(value, sign, wide)} [{number(ends.low, sign, wide)}, {number(ends.high, sign, wide)}]"


def estimate(found: Estimate) -> str:
    """A value and its interval."""
    return with_interval(found.value, found.interval)


def band(found: Band) -> str:
    """An aggregate over games and its interval, in two digits."""
    return f"{share(found.values[0])} [{share(found.low[0])}, {share(found.high[0])}]"


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


def seeds(numbers: Sequence[int]) -> str:
    """`seeds 0 to 9`, `seeds 3 and 7`."""
    ordered = sorted(numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"seeds {ordered[0]} to {ordered[-1]}"
    return f"seed{'s' * (len(ordered) > 1)} {listed([str(seed) for seed in ordered])}"


def games(found: Sequence[Game]) -> str:
    """The names of games, listed."""
    return listed([game.name for game in found])


def quotation(result: StudyResult) -> str:
    """The paragraph a researcher can quote: the finding under each protocol, with numbers, and how it was tested."""
    judged = [protocol for protocol in result.protocols if protocol.protocol.judged]
    waiting = [f"with {protocol.stage.title}" for protocol in result.protocols if protocol not in judged]
    total = len(result.protocols[0].protocol.games)
    sentences = [_headline(result.study, judged)]
    sentences += [finding(result, protocol) for protocol in judged]
    if judged:
        sentences.append(
            "Intervals are at 95 %; tests are two-sided exact Mann-Whitney tests over seeds, at 5 % after Holm's "
            f"correction over the {counted(total, 'game')} that a protocol has."
        )
    if waiting:
        sentences.append(f"Nothing can be said yet {'; '.join(waiting)}.")
    sentences.append(
        f"The figure's four games are named in no known source, so the study is laid out for {counted(total, 'game')}."
    )
    return " ".join(sentences)


def finding(result: StudyResult, protocol: ProtocolResult) -> str:
    """What was found under one protocol that has games judged, in one or two sentences."""
    judged, stage = protocol.protocol, protocol.stage
    base, subject = (result.label(optim) for optim in stage.optims)
    found = [
        f"{found_in} in {listed([_means(game) for game in judged.of_kind(kind)])}"
        for kind, found_in in (
            (WORSE, "significantly lower"),
            (BETTER, "significantly higher"),
            (NO_DIFFERENCE, "not detectably different"),
        )
        if judged.of_kind(kind)
    ]
    text = (
        f"With {stage.title}, {subject}'s mean final return was, against {base}'s, {listed(found)}: the claim is "
        f"{judged.kind} ({reach(protocol)}; {_extent(protocol)})."
    )
    if protocol.across:
        over = counted(len(protocol.across.games), "game")
        text += f" Over {over}, a run with {subject} beat one with {base} with probability "
        text += f"{band(protocol.across.improvement)}."
    badly_chosen = [f"{result.label(arm.optim)} in {game.name}" for game, arm, _ in below_untuned(result, protocol)]
    if badly_chosen:
        text += (
            f" The rates so chosen, in shorter runs, ended below the recipe's own rate for {listed(badly_chosen)}: "
            "there this comparison says little about either optimizer."
        )
    return text


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


def _headline(study: Study, judged: Sequence[ProtocolResult]) -> str:
    claim = f"The claim of {title(study)} that {study.claim}"
    kinds = {protocol.protocol.kind for protocol in judged}
    if len(kinds) > 1 and SUPPORTED in kinds:
        return f"{claim} depends here on how the two are compared."
    if len(kinds) > 1:
        against = [f"with {each.stage.title}" for each in judged if each.protocol.kind == REFUTED]
        return f"{claim} is not supported here under any protocol that was judged, and refuted {listed(against)}."
    return {
        NOT_RUN: f"{claim} has not been tested here yet.",
        REFUTED: f"{claim} does not hold here.",
        SUPPORTED: f"{claim} holds here, as far as it was run.",
        NOT_SUPPORTED: f"{claim} is not supported here: it is neither confirmed in every game nor contradicted in any.",
    }[kinds.pop() if kinds else NOT_RUN]


def reach(protocol: ProtocolResult) -> str:
    """How far a verdict reaches: `two of eight games judged`."""
    judged, total = len(protocol.protocol.judged), len(protocol.protocol.games)
    if judged == total:
        return f"all {counted(total, 'game')} judged" if total > 1 else "the one game judged"
    return f"{in_words(judged)} of {counted(total, 'game')} judged"


def _extent(protocol: ProtocolResult) -> str:
    """`10 seeds each, 999,424 environment steps`, of the games that were judged."""
    both = [arm for game in protocol.protocol.judged for arm in arms(game)]
    counts = sorted({arm.n for arm in both})
    steps = max(summary.steps[-1] for arm in both if (summary := protocol.summary(arm)))
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{each} seeds each, {steps:,} environment steps"


def _means(game: Game) -> str:
    """`Ant (1162 against 1822)`."""
    subject, baseline = (sum(arm.values) / arm.n for arm in (game.subject, game.baseline))
    return f"{game.name} ({number(subject)} against {number(baseline)})"
