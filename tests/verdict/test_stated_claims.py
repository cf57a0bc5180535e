"""Claims as data: the committed list, each kind of claim with cells whose answer is known by hand, errors by name."""

from __future__ import annotations

import random

import pytest
from examples import record

from experiments.schema.errors import UserError
from experiments.schema.studies import load_study
from experiments.schema.tables import Cell, Table
from experiments.verdict.claims import judge_games
from experiments.verdict.deciding import seeds_for_means, seeds_for_ranks
from experiments.verdict.stated_claims import load_claims
from experiments.verdict.table_claims import CellRuns, judge_claim, stability, tolerance
from experiments.verdict.two_samples import compare

CLAIMS = {claim.id: claim for claim in load_claims()}
INF = float("inf")


def cell_runs(*values):
    table = Table("x", "", "top1", "optim", [], [], seeds=list(range(3)))
    return CellRuns(table, Cell("e", "o"), values, None)


def half(adan, adamw):
    runs = [record(value, seed=seed, epochs=150) for seed, value in enumerate(adan)]
    runs += [record(value, seed=seed, optim="adamw") for seed, value in enumerate(adamw)]
    return judge_claim(CLAIMS["half-vit-small"], runs).kind


@pytest.mark.parametrize(
    ("adan", "adamw", "kind"),
    [
        ([80.9, 81.0, 81.1], [80.0, 80.1, 80.2], "supported"),
        ([79.0, 79.1, 79.2], [80.0, 80.1, 80.2], "refuted"),
        ([70.0, 80.0, 90.0], [75.0, 80.0, 85.0], "open"),
        ([80.9, 81.0], [80.0, 80.1, 80.2], "not run"),
    ],
)
def test_half_the_budget_reaches_the_full_one_or_not(adan, adamw, kind):
    assert half(adan, adamw) == kind


def test_more_seeds_with_the_same_means_never_refute_what_was_supported():
    draw = random.Random(0)
    seen = set()
    for _ in range(200):
        gap, spread = draw.uniform(-0.9, 0.9), draw.uniform(0.01, 1)
        kinds = set()
        for n in (2, 4, 8, 16):
            means = (0, -1, 0, gap - 1)  # best and worst of ours, then of theirs, which lose 1 - gap
            best, worst, their_best, their_worst = (cell_runs_of(_around(mean, spread, n, draw), n) for mean in means)
            kinds.add(tolerance([best, worst], [their_best, their_worst])[0])
        assert not {"supported", "refuted"} <= kinds
        seen |= kinds
    assert seen == {"supported", "refuted", "open"}


def _around(mean, spread, n, draw):
    values = [draw.gauss(0, spread) for _ in range(n)]
    return [mean + value - sum(values) / n for value in values]


def cell_runs_of(values, n):
    return CellRuns(Table("x", "", "top1", "optim", [], [], seeds=list(range(n))), Cell("e", "o"), tuple(values), None)


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        ([(80, 80.1, 80.2), (79, 79.1, 79.2)], [(80, 80.1, 80.2), (77, 77.1, 77.2)], "supported"),
        ([(80, 80.1, 80.2), (77, 77.1, 77.2)], [(80, 80.1, 80.2), (79, 79.1, 79.2)], "refuted"),
        ([(80, 80.1, 80.2), (79, 79.1, 79.2)], [(80, 80.1, 80.2), (79, 79.1, 79.2)], "open"),
        ([(80, 80.1, -INF), (79, 79.1, 79.2)], [(80, 80.1, 80.2), (77, 77.1, 77.2)], "open"),
        ([(80, 80.1), (79, 79.1, 79.2)], [(80, 80.1, 80.2), (77, 77.1, 77.2)], "not run"),
    ],
)
def test_the_optimizer_that_loses_less_over_batch_sizes_tolerates_them(ours, theirs, kind):
    assert tolerance([cell_runs(*one) for one in ours], [cell_runs(*one) for one in theirs])[0] == kind


def test_one_failed_run_is_not_stable():
    assert stability([cell_runs(1, 2, 3)])[0] == "supported"
    kind, estimate = stability([cell_runs(1, 2, -INF)])
    assert kind == "refuted" and estimate.value == pytest.approx(1 / 3)
    assert stability([cell_runs(1, 2)])[0] == "open" and stability([cell_runs()])[0] == "not run"


def test_best_of_a_table_compares_with_every_other_optimizer_in_each_setting():
    assert len(judge_claim(CLAIMS["best-t4"], []).pairs) == 10
    assert len(judge_claim(CLAIMS["best-t3"], []).pairs) == 9


def test_the_claim_of_the_study_is_said_once():
    assert CLAIMS["ppo"].says == load_study("f2").claim


def test_seeds_that_would_decide():
    assert seeds_for_ranks([1, 2], [1, 2]) is None and seeds_for_ranks([5], [1]) is None
    assert seeds_for_ranks([9.0, 9.1], [1.0, 1.1]) == 6  # Noether at P = 1: 7.85 / 1.5
    assert seeds_for_means([1.0, -1.0, 0.0], [0.0, -1.0, 1.0], 1.0) == 17  # Cohen's table for d = 1, 80 %


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{id: a, says: s, source: s, kind: better, missing: m}", r"claim a: no kind 'better'"),
        ("{id: a, says: s, source: s, kind: stable, mising: m}", r"claim a has no key 'mising'.*missing"),
        ("{id: a, source: s, kind: stable, missing: m}", r"claim a lacks says"),
        ("{id: a, says: s, source: s, kind: stable}", r"claim a needs one of"),
        ("{id: a, says: s, source: s, kind: better_than, tables: [t44]}", r"claim a: no table 't44'"),
        ("{id: a, says: s, source: s, kind: better_than, tables: [t4], pairs: [[adan, adamww]]}", r"no cells side by"),
    ],
)
def test_an_error_names_file_and_entry(tmp_path, entry, said):
    path = tmp_path / "claims.yaml"
    path.write_text(f"claims:\n  - {entry}\n")
    with pytest.raises(UserError, match=f"claims.yaml: .*{said}|{said}"):
        load_claims(path)


def test_a_comparison_of_ranks_repeated_with_the_same_values_never_turns():
    draw = random.Random(1)
    for _ in range(100):
        ours, theirs = ([draw.gauss(0, 1) for _ in range(4)] for _ in range(2))
        kinds = set()
        for times in (1, 2, 4):
            pair = judge_games([compare(ours * times, theirs * times)])[0]
            kinds.add(pair[0])
        assert not {"better", "worse"} <= kinds
