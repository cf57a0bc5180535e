"""The verdict on one cell of a table: our sealed records against the number that the paper printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.verdict import records as of_record
from experiments.verdict.equal_data import of_equal_data, set_aside
from experiments.verdict.margins import Margin, margin_of
from experiments.verdict.reported import Reported
from experiments.verdict.spread import Spread, load_sourced, spread_of
from experiments.verdict.student_t import Comparison, Interval, compare, deciding_n, most_reproduced
from experiments.verdict.today import is_of_today

REPRODUCED = "reproduced"
BETTER = "better"
WORSE = "worse"
NOT_WITH_OUR_SETTINGS = "not reproduced with our settings"
UNSTABLE = "unstable"
INCONCLUSIVE = "inconclusive"
NOT_COMPARABLE = "not comparable"
NOT_RUN = "not run"
KINDS = (REPRODUCED, BETTER, WORSE, NOT_WITH_OUR_SETTINGS, UNSTABLE, INCONCLUSIVE, NOT_COMPARABLE, NOT_RUN)
EARLY_LOOK = "early look"


@dataclass(frozen=True)
class Verdict:
    """Says what can be said about one cell. Numbers are in the metric's unit; `interval` is that of `difference` (ours
    - reported), `mean_interval` that of `mean`; all are None where nothing was compared. `runs` names the records that
    were. `early`: not all planned seeds have ended, so that the verdict may change without anything having changed but
    the number of seeds."""

    kind: str
    text: str
    n: int = 0
    mean: float | None = None
    mean_interval: Interval | None = None
    difference: float | None = None
    interval: Interval | None = None
    smallest_detectable: float | None = None
    assumptions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    early: bool = False

    @property
    def name(self) -> str:
        """The kind, marked where it is an early look."""
        return f"{EARLY_LOOK}: {self.kind}" if self.early else self.kind


def judge(
    records: Sequence[dict[str, Any]], cell: Any, reported: Reported | None, planned: Sequence[int] = ()
) -> Verdict:
    """Judge the records of one cell (any seeds, attempts and scales) against its reported number.

    Only runs at paper scale without command-line changes to the recipe count, which finished or diverged; of each seed
    the first attempt; `cell` names the number. `planned` are the seeds that were fixed beforehand: others are shown and
    not judged, and before all of them have ended a verdict is an early look. Without a plan every seed is judged.

    The rules, in their order: a seed that diverged makes a cell unstable; a 90 % interval of the difference within the
    margin makes it reproduced (of one run never); a 95 % interval without zero makes it better or worse; else it is
    inconclusive. With settings of ours, falling short of the number says as much about those settings as about the
    paper: "not reproduced with our settings" instead of "worse".
    """
    if not records:
        return Verdict(NOT_RUN, "no run of this cell yet")
    if reported is None:
        return Verdict(NOT_COMPARABLE, f"no reported number is tied to {cell.exp} {cell.optim}")
    fitting = [record for record in records if not _strange(record, reported)]
    pooled = of_equal_data(fitting)
    first = {record["run"] for record in of_record.first_attempts(pooled)}
    counted = [record for record in pooled if record["run"] in first and not _incomparable(record, reported)]
    judged = [record for record in counted if not planned or record["seed"] in planned]
    beside = _beside([record for record in pooled if record not in judged], reported)
    beside += filter(None, [set_aside([record for record in fitting if record not in pooled], pooled)])
    if not judged:
        reasons = dict.fromkeys(filter(None, (obstacle(record, reported) for record in records)))
        text = "; ".join([*reasons, *beside]) or "no planned seed has ended"
        return Verdict(NOT_COMPARABLE, f"not comparable with the paper: {text}")
    judged.sort(key=lambda record: record["seed"])
    ended = {record["seed"] for record in judged}
    early = bool(set(planned) - ended)
    remarks = [*([_early_text(ended, planned)] if early else []), *beside]
    lost = [record for record in judged if of_record.failed(record, reported.metric)]
    if lost:
        return _unstable(judged, lost, len(planned) or len(judged), reported, remarks)
    return _judge_values(judged, reported, early, remarks)


def obstacle(record: dict[str, Any], reported: Reported) -> str:
    """Why `record` cannot be held against the paper; empty when it can."""
    return _strange(record, reported) or _incomparable(record, reported)


def _strange(record: dict[str, Any], reported: Reported) -> str:
    """Why `record` is no run of the cell's recipe at all; empty when it is one."""
    if record["scale"] != "paper":
        return f"{record['scale']} scale"
    changed = [text for text in of_record.overrides(record) if not _names_dataset(text, reported)]
    if changed:
        return f"the command line changed the recipe ({', '.join(changed)})"
    if not is_of_today(record):
        return "the recipe has changed since the run (git log tells what)"
    split, expected = record.get("split") or {}, record["config"].get("batch_per_device")
    if split.get("batch_norm") and split["micro_batch"] != expected:
        return f"batch norm saw {split['micro_batch']} samples at a time, the recipe's saw {expected}"
    return ""


def _incomparable(record: dict[str, Any], reported: Reported) -> str:
    """Why a run of the recipe has nothing to compare yet; empty when it has, or ended without a finite value."""
    if of_record.failed(record, reported.metric):
        return ""
    if record["status"] != "finished":
        progress = record["progress"]
        return f"the run stopped at update {progress['update']} of {progress['total_updates']} ({record['status']})"
    if of_record.value(record, reported.metric) is None:
        return f"the record holds no finite {reported.metric}"
    return ""


def _early_text(ended: set[int], planned: Sequence[int]) -> str:
    missing = ", ".join(str(seed) for seed in planned if seed not in ended)
    return f"an early look at {len(ended)} of {len(planned)} planned seeds, to be judged with seed {missing}"


def _beside(others: Sequence[dict[str, Any]], reported: Reported) -> list[str]:
    """The runs of the recipe that are shown and not judged: later attempts, and seeds outside the plan."""
    shown = [
        f"{record['run'].rpartition('-seed')[2]} {'diverged' if number is None else f'{number:.2f}'}"
        for record in others
        if record["status"] in ("finished", "diverged")
        for number in [of_record.value(record, reported.metric)]
    ]
    return [f"not judged, as a later attempt or no planned seed: seed {', seed '.join(shown)}"] if shown else []


def _unstable(
    judged: Sequence[dict[str, Any]],
    lost: Sequence[dict[str, Any]],
    planned: int,
    reported: Reported,
    remarks: Sequence[str],
) -> Verdict:
    """A seed that was planned and diverged: final, whatever the others do. Their values are told, and no mean."""
    rest = ", ".join(f"{value:.2f}" for value in of_record.values(judged, reported.metric))
    seeds = ", ".join(str(record["seed"]) for record in lost)
    text = (
        f"{UNSTABLE} ({len(lost)} of {planned}): seed {seeds} ended without a finite {reported.metric}, against "
        f"{reported.value} reported ({reported.id})" + (f"; the others reached {rest}" if rest else "")
    )
    return Verdict(
        UNSTABLE,
        _with_doubt("; ".join([text, *remarks]), reported),
        n=len(judged),
        runs=tuple(record["run"] for record in judged),
    )


def _judge_values(records: list[dict[str, Any]], reported: Reported, early: bool, remarks: Sequence[str]) -> Verdict:
    values = of_record.values(records, reported.metric)
    runs = tuple(record["run"] for record in records)
    sourced = load_sourced(reported.metric, reported.dataset, reported.model)
    spread = spread_of(values, sourced)
    if spread is None:
        mean, difference = values[0], values[0] - reported.value
        text = (
            f"{_numbers(mean, difference, reported)}, n = {len(values)} without a spread, and no "
            f"sourced spread of {reported.metric} on {reported.dataset or 'this data'} between seeds; run more seeds"
        )
        text = "; ".join([f"{INCONCLUSIVE}: {text}", *remarks])
        return Verdict(
            INCONCLUSIVE,
            _with_doubt(text, reported),
            n=len(values),
            mean=mean,
            difference=difference,
            runs=runs,
            early=early,
        )
    comparison = compare(values, reported.value, spread.sd, spread.degrees_of_freedom, reported.runs)
    margin = margin_of(reported)
    own = sorted({path for record in records for path in of_record.own_settings(record)})
    kind, why = kind_of(comparison, reported, spread, margin.around(reported.value) if margin else None, bool(own))
    seeds = ", ".join(str(record["seed"]) for record in records)
    settings = [f"settings of ours, not the authors': {', '.join(own)}"] if own else []
    text = (
        f"{kind}: {_numbers(comparison.mean, comparison.difference, reported)}, 95 % interval "
        f"{comparison.interval.signed()}, 90 % {comparison.narrow.signed()}, n = {comparison.n} "
        f"(seed{'s' * (comparison.n > 1)} {seeds}); {why}"
    )
    text = "; ".join([text, *settings, *remarks])
    return Verdict(
        kind=kind,
        text=_with_doubt(f"{EARLY_LOOK}: {text}" if early else text, reported),
        n=comparison.n,
        mean=comparison.mean,
        mean_interval=comparison.mean_interval,
        difference=comparison.difference,
        interval=comparison.interval,
        smallest_detectable=comparison.smallest_detectable,
        assumptions=tuple(_assumptions(spread, margin, records[0], reported)),
        runs=runs,
        early=early,
    )


def kind_of(
    comparison: Comparison, reported: Reported, spread: Spread, margin: float | None, settings_of_ours: bool
) -> tuple[str, str]:
    """The kind of verdict by rules 2 to 4 (see `judge`), and why."""
    allowed = f"the margin of {margin:.3g}" if margin is not None else ""
    better = (comparison.difference > 0) == (reported.direction == "max")
    if margin is not None and comparison.n > 1 and comparison.within(margin):
        also = f", and differs significantly ({'better' if better else 'worse'})" if comparison.significant else ""
        return REPRODUCED, f"the 90 % interval lies within {allowed}{also}"
    if comparison.significant:
        kind = BETTER if better else (NOT_WITH_OUR_SETTINGS if settings_of_ours else WORSE)
        return kind, "the 95 % interval excludes 0"
    needed = deciding_n(comparison.difference, margin, spread.sd, reported.runs)
    decides = (
        f"n = {max(needed, comparison.n + 1)} would decide it, with this spread and difference"
        if needed
        else "no number of seeds would decide it at this difference, because the reported number has a spread too"
    )
    alone = "one run never reproduces a number" if comparison.n == 1 else ""
    wide = f"the 90 % interval does not lie within {allowed}" if allowed else "no margin is set for this metric"
    return INCONCLUSIVE, (
        f"{alone or wide}, and the 95 % interval includes 0; {decides}; n = {comparison.n} detects "
        f"{comparison.smallest_detectable:.2f} with 80 % power"
    )


def _assumptions(spread: Spread, margin: Margin | None, record: dict[str, Any], reported: Reported) -> list[str]:
    one = reported.runs == 1
    behind = "one run" if one else f"the mean of {reported.runs} runs"
    assumed = [f"the reported number is {behind}, drawn with the same spread as ours"]
    if margin is not None:
        size = margin.around(reported.value)
        share = 100 * most_reproduced(size, spread.sd, reported.runs)
        assumed.append(
            f"the margin is {size:.3g} ({margin.reason}), {size / spread.sd:.1f} sd of a run, which at most "
            f"{share:.0f} % of true reproductions can meet, because the reported number is {behind}"
        )
    cell = f"{record['exp']} with {record['optim']}"
    assumed.append(f"the spread between seeds of {cell} is that of {spread.origin}")
    return assumed


def _numbers(mean: float, difference: float, reported: Reported) -> str:
    return (
        f"{reported.metric} {mean:.2f} against {reported.value} reported ({reported.id}), difference {difference:+.2f}"
    )


def _with_doubt(text: str, reported: Reported) -> str:
    return f"{text}. Mind that {reported.doubt}" if reported.doubtful else text


def _names_dataset(override: str, reported: Reported) -> bool:
    """Whether `override` chooses the very data set of the reported number (`data=imagenet` for ImageNet-1k)."""
    key, _, name = override.partition("=")
    return key == "data" and bool(name) and _letters(reported.dataset).startswith(_letters(name))


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
