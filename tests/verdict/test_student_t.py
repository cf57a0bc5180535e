"""Student's t for a difference, against numbers computed by hand from printed t tables."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.verdict.student_t import Interval, compare, detectable, sample_sd

values = st.floats(0, 100).map(lambda value: round(value, 3))


def test_three_seeds_by_hand():
    # mean 80.6, sd 0.2, t(0.975, 2) = 4.30265: 4.30265 x 0.2 x sqrt(1/3 + 1) = 0.99366
    result = compare([80.4, 80.6, 80.8], 80.9, sample_sd([80.4, 80.6, 80.8]), 2)
    assert result.n == 3
    assert result.mean == pytest.approx(80.6)
    assert result.difference == pytest.approx(-0.3)
    assert (result.interval.low, result.interval.high) == pytest.approx((-1.29366, 0.69366), abs=1e-5)
    # 4.30265 x 0.2 / sqrt(3) = 0.49683
    assert (result.mean_interval.low, result.mean_interval.high) == pytest.approx((80.10317, 81.09683), abs=1e-5)
    assert not result.significant


def test_one_run_with_a_sourced_spread_by_hand():
    # t(0.975, 12) = 2.17881: 2.17881 x 0.104 x sqrt(2) = 0.32046
    result = compare([80.3], 80.7, 0.104, 12)
    assert (result.interval.low, result.interval.high) == pytest.approx((-0.72046, -0.07954), abs=1e-5)
    assert result.significant


@pytest.mark.parametrize(("degrees_of_freedom", "noncentrality"), [(1, 16.334), (2, 5.653), (4, 3.761), (12, 3.053)])
def test_detectable_difference_is_found_with_80_percent_power(degrees_of_freedom, noncentrality):
    assert detectable(degrees_of_freedom) == pytest.approx(noncentrality, abs=2e-3)
    draw = random.Random(degrees_of_freedom)
    critical = {1: 12.706, 2: 4.303, 4: 2.776, 12: 2.179}[degrees_of_freedom]
    found = 0
    for _ in range(20_000):
        squares = sum(draw.gauss(0, 1) ** 2 for _ in range(degrees_of_freedom))
        t = (draw.gauss(0, 1) + noncentrality) / math.sqrt(squares / degrees_of_freedom)
        found += abs(t) > critical
    assert found / 20_000 == pytest.approx(0.80, abs=0.012)


@pytest.mark.parametrize("n", [3, 5])
def test_equal_means_are_called_different_in_5_percent(n):
    """The paper's number and ours come from one distribution: 2.5 % of comparisons err to either side."""
    draw, below, above, draws = random.Random(n), 0, 0, 6000
    for _ in range(draws):
        ours = [draw.gauss(80, 0.3) for _ in range(n)]
        result = compare(ours, draw.gauss(80, 0.3), sample_sd(ours), n - 1)
        below += result.interval.high < 0
        above += result.interval.low > 0
    assert below / draws == pytest.approx(0.025, abs=0.007)
    assert above / draws == pytest.approx(0.025, abs=0.007)


@given(st.lists(values, min_size=1, max_size=6), values, st.floats(0.01, 5))
def test_mirrored_results_give_the_mirrored_interval(ours, reported, sd):
    result = compare(ours, reported, sd, 4)
    mirrored = compare([-value for value in ours], -reported, sd, 4)
    assert mirrored.difference == pytest.approx(-result.difference, abs=1e-9)
    assert mirrored.interval.low == pytest.approx(-result.interval.high, abs=1e-9)
    assert mirrored.smallest_detectable == pytest.approx(result.smallest_detectable)


@given(st.integers(2, 30), st.floats(0.01, 5))
def test_more_seeds_narrow_the_interval_and_detect_smaller_differences(n, sd):
    fewer, more = (compare([80.0] * size, 80.0, sd, size - 1) for size in (n, n + 1))
    assert more.interval.high < fewer.interval.high
    assert more.smallest_detectable < fewer.smallest_detectable
    assert more.interval.high > 1.96 * sd  # the paper's one run keeps its own spread, however many are ours


def test_equal_values_have_no_spread():
    assert sample_sd([80.1]) == sample_sd([80.1, 80.1]) == 0.0


def test_intervals_are_closed_and_print_with_two_decimals():
    interval = Interval(-0.125, 0.5)
    assert 0.5 in interval and 0.51 not in interval
    assert (str(interval), interval.signed()) == ("[-0.12, 0.50]", "[-0.12, +0.50]")
