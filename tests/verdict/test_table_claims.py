"""Claims of a table: which cells they compare, and when they are supported, refuted or open."""

from __future__ import annotations

import pytest
from examples import record

from experiments.report import table_claims as words
from experiments.schema.tables import load_table
from experiments.verdict.table_claims import judge_claims

FASTAI = load_table("fastai_cifar10")
OPTIMS = ("adamw", "amsgradw", "adam", "amsgrad")
HIGH, MIDDLE, LOW = ([value + 0.01 * seed for seed in range(5)] for value in (94.3, 93.9, 93.3))


def runs(optim, values, **changes):
    of_cell = {"exp": "cifar10_wrn22", "recipe": "one_cycle", "epochs": 30, "batch_size": 128}
    return [
        record(value, optim=optim, seed=seed, **{**of_cell, **changes})
        if value is not None
        else record(None, optim=optim, seed=seed, status="diverged", **{**of_cell, **changes})
        for seed, value in enumerate(values)
    ]


def judged(**values):
    records = [one for optim, numbers in values.items() for one in runs(optim, numbers)]
    return judge_claims(FASTAI, records)


def test_without_runs_no_claim_is_judged():
    assert [one.kind for one in judge_claims(FASTAI, [])] == ["not run", "not run"]
    text = words.section(FASTAI, judge_claims(FASTAI, []))
    assert text.count("**not run**, 0 of 2 pairs in favour, 0 compared") == 2


def test_all_pairs_in_favour_support_a_claim():
    decay, amsgrad = judged(adamw=HIGH, amsgradw=MIDDLE, adam=MIDDLE, amsgrad=LOW)
    assert (decay.kind, amsgrad.kind) == ("supported", "supported")
    assert {pair.kind for pair in (*decay.pairs, *amsgrad.pairs)} == {"better"}
    text = words.section(FASTAI, [decay, amsgrad])
    assert "**supported**, 2 of 2 pairs in favour, 2 compared." in text
    assert text.count("100 %") == 4 and text.count("0.0159") == 4  # Holm's: twice 2 of 252


def test_one_pair_the_other_way_refutes_it_and_leaves_the_other_claim_alone():
    decay, amsgrad = judged(adamw=MIDDLE, amsgradw=LOW, adam=HIGH, amsgrad=MIDDLE)
    assert decay.kind == "refuted" and {pair.kind for pair in decay.pairs} == {"worse"}
    assert amsgrad.kind == "supported"


def test_equal_runs_leave_it_open_and_a_missing_seed_unfinished():
    decay, amsgrad = judged(adamw=HIGH, amsgradw=HIGH, adam=MIDDLE, amsgrad=LOW[:4])
    assert [pair.kind for pair in decay.pairs] == ["better", "unfinished"]
    assert [pair.kind for pair in amsgrad.pairs] == ["no difference detected", "unfinished"]
    assert (decay.kind, amsgrad.kind) == ("open", "open")


def test_runs_that_diverge_are_the_lowest_and_do_not_help_the_loser():
    decay, _ = judged(adamw=[HIGH[0], HIGH[1], None, None, None], amsgradw=HIGH, adam=MIDDLE, amsgrad=LOW)
    assert decay.pairs[0].kind == "no difference detected" and decay.kind == "open"


@pytest.mark.parametrize(
    "change",
    [{"recipe": "one_cycle_bf16"}, {"epochs": 18}, {"scale": "mini"}, {"overrides": ["optim.lr=1"]}],
    ids=str,
)
def test_only_runs_of_the_published_cells_count(change):
    records = [one for optim in OPTIMS for one in runs(optim, HIGH, **change)]
    assert [one.kind for one in judge_claims(FASTAI, records)] == ["not run", "not run"]


def test_the_claim_of_adabelief_is_over_eight_others_and_three_networks_and_says_what_five_seeds_can_show():
    table = load_table("cifar10")
    [claim] = judge_claims(table, [])
    assert len(claim.pairs) == 24 and {pair.higher.optim for pair in claim.pairs} == {"adabelief"}
    assert {pair.lower.recipe for pair in claim.pairs} == {"adabelief"}
    assert not {"adan", "msvag"} & {pair.lower.optim for pair in claim.pairs}
    assert "With 5 seeds a side no single pair can refute it" in words.section(table, [claim])
