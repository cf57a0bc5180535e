"""Two samples over seeds, against oracles worked out by hand, by enumeration, by scipy and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from experiments.schema.studies import load_study
from experiments.verdict import two_samples

SUBJECT = [3.0, 5.0, 8.0, 9.5, 11.0, 4.0]
BASELINE = [2.0, 2.5, 6.0, 1.0, 7.0, 3.5, 0.5]


def test_welch_difference_and_interval_are_scipy_s():
    found = two_samples.compare(SUBJECT, BASELINE)
    oracle = scipy.stats.ttest_ind(SUBJECT, BASELINE, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(SUBJECT) - np.mean(BASELINE))
    ends = found.difference_interval
    assert (ends.low, ends.high) == pytest.approx((interval.low, interval.high))


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    assert two_samples.probability_of_improvement([1, 2, 3], [2, 0]) == (0.5 + 1 + 1 + 0 + 1 + 1) / 6
    u = scipy.stats.mannwhitneyu(SUBJECT, BASELINE).statistic
    assert two_samples.probability_of_improvement(SUBJECT, BASELINE) == pytest.approx(u / (6 * 7))


def test_mann_whitney_is_scipy_s_exact_test_without_ties():
    oracle = scipy.stats.mannwhitneyu(SUBJECT, BASELINE, method="exact").pvalue
    assert two_samples.mann_whitney(SUBJECT, BASELINE) == pytest.approx(oracle)
    assert two_samples.mann_whitney(range(10), range(10, 20)) == pytest.approx(2 / math.comb(20, 10))


@pytest.mark.parametrize("seed", range(8))
def test_mann_whitney_is_exact_with_ties_by_enumeration_of_all_deals(seed):
    """Small whole numbers and runs that failed, in samples of unequal size: the share of all deals at least as far."""
    generator = np.random.default_rng(seed)
    subject, baseline = generator.integers(0, 4, 5).tolist(), generator.integers(1, 5, 3 + seed % 3).tolist()
    subject[0] = -math.inf
    pooled, centre = subject + baseline, len(subject) * len(baseline) / 2

    def distance(own):
        x = [pooled[i] for i in own]
        y = [pooled[i] for i in range(len(pooled)) if i not in own]
        return abs(sum((a > b) + 0.5 * (a == b) for a in x for b in y) - centre)

    deals = [distance(set(own)) for own in itertools.combinations(range(len(pooled)), len(subject))]
    seen = distance(set(range(len(subject))))
    assert two_samples.mann_whitney(subject, baseline) == pytest.approx(np.mean([d >= seen for d in deals]))


def test_newcombe_solves_its_equation_and_never_has_no_width():
    """At 0 of 10 and 10: [0, 0.20], where a bootstrap says [0, 0]."""
    whole = two_samples.newcombe(0.0, 10, 10)
    assert (whole.low, whole.high) == pytest.approx((0.0, 0.200), abs=1e-3)
    found = two_samples.newcombe(0.3, 10, 7, 0.99)
    for t in (found.low, found.high):
        variance = t * (1 - t) * (1 + 7.5 * ((1 - t) / (2 - t) + t / (1 + t))) / 70
        assert (t - 0.3) ** 2 == pytest.approx(2.5758**2 * variance, rel=1e-3)


def test_the_planned_seeds_of_figure_2_can_pass_holm_s_first_step():
    for stage in load_study("f2").stages:
        if isinstance(stage.lr, list):
            continue
        n = len(stage.seeds)
        assert two_samples.mann_whitney(range(n), range(100, 100 + n)) < 0.05 / len(stage.exps)


def test_equal_samples_differ_in_nothing():
    found = two_samples.compare([1.0, 1.0], [1.0, 1.0])
    assert (found.difference, found.difference_interval.low, found.difference_interval.high) == (0.0, 0.0, 0.0)
    assert (found.probability, found.p) == (0.5, 1.0)


def test_holm_by_hand():
    assert two_samples.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert two_samples.holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert two_samples.holm([]) == []


@pytest.mark.parametrize("comparisons", [1, 8])
def test_the_detectable_probability_is_found_with_80_percent_power(comparisons):
    generator = np.random.default_rng(0)
    probability = two_samples.detectable_probability(10, 10, comparisons)
    shift = math.sqrt(2) * scipy.stats.norm.ppf(probability)
    x, y = generator.normal(shift, 1, (10_000, 10)), generator.normal(0, 1, (10_000, 10))
    p = scipy.stats.mannwhitneyu(x, y, axis=1, method="exact").pvalue
    assert np.mean(p <= 0.05 / comparisons) == pytest.approx(0.8, abs=0.04)


def test_the_interval_of_a_mean_is_student_s():
    low, high = scipy.stats.t.interval(0.95, 5, np.mean(SUBJECT), scipy.stats.sem(SUBJECT))
    found = two_samples.mean_interval(SUBJECT)
    assert found is not None and (found.low, found.high) == pytest.approx((low, high))
    assert two_samples.mean_interval([1.0]) is None
