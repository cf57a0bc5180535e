"""Numbers and sentences of a study: what can be quoted from it, for whatever part of it has been run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.report.study_results import ProtocolResult, StudyResult, arms
from experiments.schema.studies import Study
from experiments.verdict.across_games import Band
from experiments.verdict.arm_summary import Estimate
from experiments.verdict.claims import BETTER, NO_DIFFERENCE, OPEN, UNFINISHED, WORSE, Game, Protocol
from experiments.verdict.judge import NOT_RUN
from experiments.verdict.student_t import Interval

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


def shares(value: float, ends: Interval) -> str:
    """`0.12 [0.02, 0.48]`."""
    return f"{share(value)} [{share(ends.low)}, {share(ends.high)}]"


def p_value(p: float) -> str:
    """`0.032`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """`= 0.032`, `< 0.001`."""
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


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
    """The paragraph a researcher can quote, in about 150 words at most: the verdict on the claim under each protocol,
    the games that decided it, and how it was tested."""
    judged = [protocol for protocol in result.protocols if protocol.protocol.judged]
    if not judged:
        return f"{_claim(result.study)} has not been tested here yet."
    base, subject = (result.label(optim) for optim in result.protocols[0].stage.optims)
    sentences = [
        f"{_claim(result.study)} was tested by P, the probability that a run with {subject} ends higher than one with "
        f"{base}."
    ]
    sentences += [finding(protocol) for protocol in judged]
    sentences += [replicated(other) for protocol in judged for other in protocol.protocol.replications if other.judged]
    if waiting := len(result.protocols) - len(judged):
        have = "has" if waiting == 1 else "have"
        sentences.append(f"{counted(waiting, 'further protocol').capitalize()} {have} no game judged yet.")
    sentences.append(
        f"Tests: exact two-sided Mann-Whitney, Holm over the {counted(len(judged[0].protocol.games), 'planned game')}; "
        "intervals hold for all of them together at 95 %."
    )
    return " ".join(sentences)


def finding(protocol: ProtocolResult) -> str:
    """Say what was found under one protocol that has games judged, in one sentence."""
    judged = protocol.protocol
    said = [
        f"P was {listed([_probability(game) for game in found])} ({what})"
        for kind, what in ((WORSE, "worse"), (BETTER, "better"))
        if (found := judged.of_kind(kind))
    ]
    neither = judged.of_kind(NO_DIFFERENCE)
    if neither:
        said.append(f"no difference was detected in {games(neither)}")
    return f"With {judged.stage.title} it is {verdict_word(judged)}: {'; '.join(said)} ({_extent(protocol)})."


def replicated(other: Protocol) -> str:
    """Say what a replication showed, as a sentence."""
    found = [f"{_probability(game)}, p {p_equals(game.comparison.p)}" for game in other.judged if game.comparison]
    return f"A replication on fresh seeds ({seeds(other.stage.seeds)}) gave P = {listed(found)}."


def verdict_word(judged: Protocol) -> str:
    """`refuted`, `supported`, `open: 1 of 8 games in favour`."""
    if judged.kind != OPEN:
        return judged.kind
    return f"{OPEN}: {len(judged.in_favour)} of {len(judged.games)} games in favour"


def verdict_line(protocol: ProtocolResult) -> str:
    """The verdict on the claim under one protocol, with what it rests on."""
    judged = protocol.protocol
    if judged.kind == NOT_RUN:
        begun = judged.of_kind(UNFINISHED)
        return f"not run: not all planned seeds have ended yet in {games(begun)}" if begun else "not run"
    parts = [
        f"{what} in {games(judged.of_kind(kind))}"
        for kind, what in ((WORSE, "worse"), (BETTER, "better"), (NO_DIFFERENCE, "no difference detected"))
        if judged.of_kind(kind)
    ]
    return f"{verdict_word(judged)} ({reach(protocol)}): {'; '.join(parts)}"


def reach(protocol: ProtocolResult) -> str:
    """Say how far a verdict reaches: `two of eight games judged`."""
    judged, total = len(protocol.protocol.judged), len(protocol.protocol.games)
    if judged == total:
        return f"all {counted(total, 'game')} judged" if total > 1 else "the one game judged"
    return f"{in_words(judged)} of {counted(total, 'game')} judged"


def _claim(study: Study) -> str:
    return f"The claim of {title(study)} that {study.claim}"


def _extent(protocol: ProtocolResult) -> str:
    """`4 of 8 games judged, 10 runs each`."""
    judged = protocol.protocol
    counts = sorted({len(arm.planned) for game in judged.judged for arm in arms(game)})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{len(judged.judged)} of {len(judged.games)} games judged, {each} runs of each"


def _probability(game: Game) -> str:
    """`0.12 [0.02, 0.48] in Ant`."""
    found = game.comparison
    return f"{shares(found.probability, found.interval)} in {game.name}" if found else game.name
