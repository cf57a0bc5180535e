"""The number of seeds that would decide a claim has the power it promises, by simulation with the suite's own tests."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.verdict.deciding import fewest_for_ranks, seeds_for_means, seeds_for_ranks
from experiments.verdict.student_t import LEVEL
from experiments.verdict.two_samples import compare, mann_whitney

REPETITIONS = 400


def observed(difference: float) -> tuple[list[float], list[float]]:
    """Two samples with exactly this difference of means and a pooled spread of one."""
    base = np.array([-1.0, 0.0, 1.0])
    return list(base + difference), list(base)


def power(n: int, difference: float, significant) -> float:
    numbers = np.random.default_rng(20261127)
    draws = ((numbers.normal(difference, 1, n), numbers.normal(0, 1, n)) for _ in range(REPETITIONS))
    return float(np.mean([significant(list(one), list(other)) for one, other in draws]))


def ranks_differ(one, other) -> bool:
    return mann_whitney(one, other) <= 1 - LEVEL


def means_differ(one, other) -> bool:
    return 0.0 not in compare(one, other, LEVEL).difference_interval


@pytest.mark.parametrize("difference", [0.8, 1.2, 2.0])
def test_so_many_seeds_give_the_rank_test_four_in_five_and_half_of_them_do_not(difference):
    n = seeds_for_ranks(*observed(difference))
    assert 0.74 <= power(n, difference, ranks_differ) <= 0.97  # Noether is careful where samples hardly overlap
    assert power(max(4, n // 2), difference, ranks_differ) < 0.74


@pytest.mark.parametrize("difference", [0.8, 1.2, 2.0])
def test_so_many_seeds_give_welchs_test_four_in_five_and_half_of_them_do_not(difference):
    n = seeds_for_means(*observed(difference))
    assert 0.74 <= power(n, difference, means_differ) <= 0.88
    assert power(max(2, n // 2), difference, means_differ) < 0.7


def test_fewer_seeds_than_the_exact_rank_test_can_use_are_never_named():
    assert fewest_for_ranks() == 4
    assert seeds_for_ranks([100.0, 101.0, 102.0], [1.0, 2.0, 3.0]) == 6


def test_no_difference_is_decided_by_no_number_of_seeds():
    assert seeds_for_ranks(*observed(0.0)) is None and seeds_for_means(*observed(0.0)) is None
    assert seeds_for_ranks([1.0], [2.0]) is None
