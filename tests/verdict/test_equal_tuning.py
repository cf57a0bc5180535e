"""When every optimizer was tuned alike: the best trial chooses, fresh seeds judge, the page says how sure that is."""

from __future__ import annotations

import math

import pytest
import tuned_runs
from scipy import stats
from tuned_runs import FULL, HALF, taken_up

from experiments.report import fair_comparison
from experiments.schema.tunings import load_tuning
from experiments.verdict.equal_tuning import arms, comparisons, family
from experiments.verdict.tuning import at_edge, best

EQUAL = load_tuning("equal")
EXP = "vit_small"
PEAK = {"adan": 5e-3, "adamw": 1e-3}


def response(optim):
    return lambda rate: 80.0 - 10.0 * abs(math.log10(rate / PEAK[optim]))


def records(full, half=(), optims=("adan", "adamw")):
    """Trials of both, then `full[optim]` and `half[optim]` on fresh seeds at the setting that they choose."""
    found = []
    for optim in optims:
        one = taken_up(EQUAL, EXP, optim)
        own = tuned_runs.trials(one, response(optim))
        [arm] = arms(EQUAL, EXP, "mini", own, [optim])
        found += own + tuned_runs.fresh(one, arm.chosen.settings, FULL, full.get(optim, ()))
        found += tuned_runs.fresh(one, arm.chosen.settings, HALF, dict(half).get(optim, ()))
    return found


def judged(known):
    return {
        (one.other.candidate.optim, one.budget): one
        for one in comparisons(EQUAL, arms(EQUAL, EXP, "mini", known, EQUAL.optims))
    }


def test_the_best_trial_on_the_validation_split_chooses_once_all_have_ended():
    one = taken_up(EQUAL, EXP, "adan")
    own = tuned_runs.trials(one, response("adan"))
    [arm] = arms(EQUAL, EXP, "mini", own, ["adan"])
    assert (arm.trial_metric, arm.metric) == ("val_top1", "top1")
    assert arm.chosen.settings["optim.lr"] == min(
        (each["optim.lr"] for each in EQUAL.combinations("adan", "image_classification")),
        key=lambda rate: abs(math.log10(rate / PEAK["adan"])),
    )
    assert arms(EQUAL, EXP, "mini", own[1:], ["adan"])[0].chosen is None


def test_a_trial_of_another_seed_or_with_another_change_is_none():
    one = taken_up(EQUAL, EXP, "adan")
    first = one.trials()[0]
    others = [
        tuned_runs.record(type(first)(first.choices, {**first.values, **changed}), "val_top1", 99.0)
        for changed in ({"seed": 7}, {"model.drop_path": 0.5}, {"data.validation_fraction": 0.2})
    ]
    [arm] = arms(EQUAL, EXP, "mini", others, ["adan"])
    assert not arm.begun


def test_a_diverged_trial_is_never_chosen_and_where_all_diverged_nothing_is():
    one = taken_up(EQUAL, EXP, "adan")
    chosen_but_lost = tuned_runs.trials(one, lambda rate: math.nan if rate > 2e-3 else response("adan")(rate))
    [arm] = arms(EQUAL, EXP, "mini", chosen_but_lost, ["adan"])
    assert arm.chosen.settings["optim.lr"] < 2e-3
    [arm] = arms(EQUAL, EXP, "mini", tuned_runs.trials(one, lambda rate: math.nan), ["adan"])
    assert arm.chosen is None and best(arm.trials, "max") is None


def test_the_plateau_is_the_neighbouring_rates_within_two_per_cent_and_an_edge_is_named():
    one = taken_up(EQUAL, EXP, "adan")
    rates = sorted(each["optim.lr"] for each in EQUAL.combinations("adan", "image_classification"))
    values = dict(zip(rates, [50.0, 78.5, 79.0, 80.0, 70.0, 79.9, 79.9, 79.9], strict=True))
    [arm] = arms(EQUAL, EXP, "mini", tuned_runs.trials(one, values.get), ["adan"])
    assert arm.plateau() == (rates[1], rates[3]) and arm.plateau().width == rates[3] / rates[1]
    rising = dict(zip(rates, range(8), strict=True))
    [arm] = arms(EQUAL, EXP, "mini", tuned_runs.trials(one, lambda rate: float(rising[rate])), ["adan"])
    assert at_edge(arm.chosen.settings, arm.trials)["optim.lr"] == "highest"
    assert arm.plateau().width == 1.0


FAR = {"adan": (82.0, 82.3, 81.8, 82.1, 82.2), "adamw": (78.0, 78.4, 77.9, 78.2, 78.1)}


def test_better_and_worse_go_by_welch_corrected_for_every_planned_comparison():
    assert family(EQUAL) == 3 * 3 * 2  # experiments, other optimizers, budgets: run or not
    found = judged(records(FAR))[("adamw", FULL)]
    oracle = stats.ttest_ind(FAR["adan"], FAR["adamw"], equal_var=False).confidence_interval(1 - 0.05 / 18)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(oracle), rel=1e-9)
    assert found.kind == "better" and found.difference == pytest.approx(3.96)
    assert judged(records(dict(zip(FAR, reversed(FAR.values()), strict=True))))[("adamw", FULL)].kind == "worse"


NEAR = (80.0, 80.1, 79.9, 80.05, 79.95)


@pytest.mark.parametrize(
    ("adan", "kind"),
    [
        (NEAR, "equivalent"),
        ((80.6, 80.7, 80.5, 80.6, 80.7), "better"),
        ((79.0, 81.5, 80.0, 82.0, 78.0), "no difference detected"),
        ((82.0, 82.3, math.nan, 82.1, 82.2), "unstable"),
        ((82.0, 82.3, 82.1, 82.2), "not run"),
    ],
)
def test_what_a_comparison_at_the_full_budget_can_say(adan, kind):
    assert judged(records({"adan": adan, "adamw": NEAR}))[("adamw", FULL)].kind == kind


@pytest.mark.parametrize(
    ("half", "kind"),
    [(NEAR, "supported"), ((79.4, 79.5, 79.3, 79.4, 79.5), "open"), ((75.0, 75.3, 74.8, 75.1, 75.2), "refuted")],
)
def test_half_the_budget_is_held_against_the_others_full_one(half, kind):
    found = judged(records({"adan": NEAR, "adamw": NEAR}, {"adan": half}))[("adamw", HALF)]
    assert found.kind == kind and found.margin == 0.5


def test_the_page_says_what_was_chosen_what_holds_and_what_is_missing():
    known = records(FAR, {"adan": (78.1, 78.0, 78.3, 78.2, 78.0)})
    found = fair_comparison.collect(EQUAL, known)
    text = fair_comparison.page(EQUAL, found, known, {"vit_small_mini": "figures/r.png"})
    assert "0 of 3 planned experiments are complete" in text
    assert "> At mini scale, with 8 full-length trials for each optimizer" in text
    assert "Adan is better than adamw on vit_small (+3.96)." in text
    assert "With half budget Adan reaches the full budget of adamw on vit_small (+0.00)" in text
    assert "82.08 ± 0.19 (n = 5)" in text and "78.12 ± 0.19 (n = 5)" in text
    assert "| sgd " in text and "0 of 8 trials done" in text
    assert "![vit_small: val_top1 of every trial against its learning rate](figures/r.png)" in text
    assert "All 16 trials" in text


def test_nothing_run_is_a_page_that_says_so():
    assert "Nothing has been run." in fair_comparison.page(EQUAL, fair_comparison.collect(EQUAL, []), [], {})
