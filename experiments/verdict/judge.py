"""The verdict on one cell of a table: our sealed records against the number that the paper printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.verdict import records as of_record
from experiments.verdict.reported import Reported
from experiments.verdict.spread import Spread, load_spread
from experiments.verdict.statistics import Comparison, Interval, compare, sample_sd

REPRODUCED = "reproduced"
BETTER = "better"
WORSE = "worse"
NOT_WITH_OUR_SETTINGS = "not reproduced with our settings"
INCONCLUSIVE = "inconclusive"
NOT_COMPARABLE = "not comparable"
NOT_RUN = "not run"
KINDS = (REPRODUCED, BETTER, WORSE, NOT_WITH_OUR_SETTINGS, INCONCLUSIVE, NOT_COMPARABLE, NOT_RUN)


@dataclass(frozen=True)
class Verdict:
    """What can be said about one cell. Numbers are in the metric's unit; `interval` is that of `difference`
    (ours - reported), `mean_interval` that of `mean`; all are None where nothing was compared. `runs` names the
    records that were."""

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


def judge(records: Sequence[dict[str, Any]], cell: Any, reported: Reported | None) -> Verdict:
    """Judge the records of one cell (any seeds, attempts and scales) against its reported number.

    Only finished runs at paper scale without command-line changes to the recipe count; `cell` names the number.
    """
    if not records:
        return Verdict(NOT_RUN, "no run of this cell yet")
    if reported is None:
        return Verdict(NOT_COMPARABLE, f"no reported number is tied to {cell.exp} {cell.optim}")
    reasons = {record["run"]: obstacle(record, reported) for record in records}
    comparable = [record for record in records if not reasons[record["run"]]]
    if not comparable:
        unique = dict.fromkeys(reason for reason in reasons.values() if reason)
        return Verdict(NOT_COMPARABLE, "not comparable with the paper: " + "; ".join(unique))
    return _judge_values(of_record.latest_attempts(of_record.one_configuration(comparable)), reported)


def obstacle(record: dict[str, Any], reported: Reported) -> str:
    """Why `record` cannot be held against the paper; empty when it can."""
    if record["status"] != "finished":
        progress = record["progress"]
        return f"the run stopped at update {progress['update']} of {progress['total_updates']} ({record['status']})"
    if record["scale"] != "paper":
        return f"{record['scale']} scale"
    changed = [text for text in of_record.overrides(record) if not _names_dataset(text, reported)]
    if changed:
        return f"the command line changed the recipe ({', '.join(changed)})"
    split, expected = record.get("split") or {}, record["config"].get("batch_per_device")
    if split.get("batch_norm") and split["micro_batch"] != expected:
        return f"batch norm saw {split['micro_batch']} samples at a time, the recipe's saw {expected}"
    if of_record.value(record, reported.metric) is None:
        return f"the record holds no finite {reported.metric}"
    return ""


def _judge_values(records: list[dict[str, Any]], reported: Reported) -> Verdict:
    values = of_record.values(records, reported.metric)
    runs = tuple(record["run"] for record in records)
    spread = load_spread(reported.metric, reported.dataset)
    own_sd = sample_sd(values)
    if own_sd:
        comparison = compare(values, reported.value, own_sd, len(values) - 1)
    elif spread:
        comparison = compare(values, reported.value, spread.sd, spread.degrees_of_freedom)
    else:
        mean, difference = values[0], values[0] - reported.value
        text = (
            f"{INCONCLUSIVE}: {_numbers(mean, difference, reported)}, n = {len(values)} without a spread, and no "
            f"sourced spread of {reported.metric} on {reported.dataset or 'this data'} between seeds; run more seeds"
        )
        return Verdict(INCONCLUSIVE, _with_doubt(text, reported), len(values), mean, difference=difference, runs=runs)
    own = sorted({path for record in records for path in of_record.own_settings(record)})
    kind, remark = _kind(comparison, reported.direction, own, spread.tolerance if spread else None)
    seeds = ", ".join(str(record["seed"]) for record in records)
    text = (
        f"{kind}: {_numbers(comparison.mean, comparison.difference, reported)}, 95 % interval "
        f"{comparison.interval.signed()}, n = {comparison.n} (seed{'s' * (comparison.n > 1)} {seeds}); smallest "
        f"difference that n = {comparison.n} detects with 80 % power: {comparison.smallest_detectable:.2f}{remark}"
    )
    return Verdict(
        kind=kind,
        text=_with_doubt(text, reported),
        n=comparison.n,
        mean=comparison.mean,
        mean_interval=comparison.mean_interval,
        difference=comparison.difference,
        interval=comparison.interval,
        smallest_detectable=comparison.smallest_detectable,
        assumptions=tuple(_assumptions(None if own_sd else spread, records[0])),
        runs=runs,
    )


def _kind(comparison: Comparison, direction: str, own: list[str], tolerance: float | None) -> tuple[str, str]:
    """The kind of verdict, and a remark for its text.

    A cell with settings of ours tests those settings as much as the paper: falling short of the number is
    "not reproduced with our settings", reaching or passing it is "reproduced".
    """
    settings = f"; settings of ours, not the authors': {', '.join(own)}" if own else ""
    if comparison.significant:
        is_better = (comparison.difference > 0) == (direction == "max")
        if own and is_better:
            return REPRODUCED, f"; significantly better than reported{settings}"
        if own:
            return NOT_WITH_OUR_SETTINGS, settings
        return (BETTER if is_better else WORSE), ""
    if tolerance is not None and comparison.smallest_detectable > tolerance:
        return REPRODUCED, f", weak: more than the {tolerance:g} that a verdict should be able to detect{settings}"
    return REPRODUCED, settings


def _assumptions(spread: Spread | None, record: dict[str, Any]) -> list[str]:
    assumed = ["the reported number is one run, drawn with the same spread as ours"]
    if spread is not None:
        assumed.append(
            f"the spread between seeds is sd {spread.sd:g} ({spread.degrees_of_freedom} degrees of freedom), measured "
            f"on {spread.measured_on} ({spread.source}), and holds for {record['exp']} with {record['optim']}"
        )
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
