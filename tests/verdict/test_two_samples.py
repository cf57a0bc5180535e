"""Two samples over seeds, against oracles worked out by hand, by enumeration, by scipy and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from experiments.verdict import two_samples
from experiments.verdict.claims import FEWEST_SEEDS

SUBJECT = [3.0, 5.0, 8.0, 9.5, 11.0, 4.0]
BASELINE = [2.0, 2.5, 6.0, 1.0, 7.0, 3.5, 0.5]


def test_welch_difference_and_interval_are_scipy_s():
    found = two_samples.compare(SUBJECT, BASELINE)
    oracle = scipy.stats.ttest_ind(SUBJECT, BASELINE, equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(SUBJECT) - np.mean(BASELINE))
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    assert two_samples.probability_of_improvement([1, 2, 3], [2, 0]) == (0.5 + 1 + 1 + 0 + 1 + 1) / 6
    u = scipy.stats.mannwhitneyu(SUBJECT, BASELINE).statistic
    assert two_samples.probability_of_improvement(SUBJECT, BASELINE) == pytest.approx(u / (6 * 7))


def test_mann_whitney_is_exact_by_enumeration_of_all_splits():
    pooled = SUBJECT + BASELINE
    centre = len(SUBJECT) * len(BASELINE) / 2

    def distance(indices):
        x = [pooled[i] for i in indices]
        y = [pooled[i] for i in range(len(pooled)) if i not in indices]
        return abs(sum(a > b for a in x for b in y) - centre)

    splits = [distance(set(indices)) for indices in itertools.combinations(range(len(pooled)), len(SUBJECT))]
    seen = distance(set(range(len(SUBJECT))))
    assert two_samples.mann_whitney(SUBJECT, BASELINE) == pytest.approx(np.mean([d >= seen for d in splits]))


def test_the_fewest_judged_seeds_are_the_fewest_that_can_pass_holm_s_first_step_over_eight_games():
    smallest = {n: two_samples.mann_whitney(range(n), range(100, 100 + n)) for n in (FEWEST_SEEDS - 1, FEWEST_SEEDS)}
    assert smallest[FEWEST_SEEDS] == pytest.approx(2 / math.comb(2 * FEWEST_SEEDS, FEWEST_SEEDS))
    assert smallest[FEWEST_SEEDS] < 0.05 / 8 < smallest[FEWEST_SEEDS - 1]


def test_equal_samples_differ_in_nothing():
    found = two_samples.compare([1.0, 1.0], [1.0, 1.0])
    assert (found.difference, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)
    assert (found.probability, found.p) == (0.5, 1.0)
    assert two_samples.smallest_detectable([1.0, 1.0], [1.0, 1.0]) == 0.0


def test_holm_by_hand():
    assert two_samples.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert two_samples.holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert two_samples.holm([]) == []


@pytest.mark.parametrize("comparisons", [1, 8])
def test_the_smallest_detectable_difference_is_found_with_80_percent_power(comparisons):
    """20,000 simulated pairs of samples with the spreads of the given ones, unequal and of unequal size."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=10), 3 * generator.normal(size=7)
    shift = two_samples.smallest_detectable(list(x), list(y), comparisons)
    drawn_x = generator.normal(shift, np.std(x, ddof=1), size=(20_000, 10))
    drawn_y = generator.normal(0.0, np.std(y, ddof=1), size=(20_000, 7))
    p = scipy.stats.ttest_ind(drawn_x, drawn_y, axis=1, equal_var=False).pvalue
    assert np.mean(p < 0.05 / comparisons) == pytest.approx(0.8, abs=0.015)


def test_the_interval_of_a_mean_is_student_s():
    low, high = scipy.stats.t.interval(0.95, 5, np.mean(SUBJECT), scipy.stats.sem(SUBJECT))
    found = two_samples.mean_interval(SUBJECT)
    assert found is not None and (found.low, found.high) == pytest.approx((low, high))
    assert two_samples.mean_interval([1.0]) is None
