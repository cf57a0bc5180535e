"""The stratified bootstrap: rliable's numbers, repeatable, and stratified by game."""

from __future__ import annotations

import numpy as np
import pytest
from rliable import metrics

from experiments.verdict import bootstrap

SCORES = np.random.default_rng(3).normal(size=(10, 3)) + np.array([0.0, 1.0, 5.0])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(bootstrap, "REPETITIONS", 400)


def test_the_interquartile_mean_is_rliable_s_and_the_one_by_hand():
    assert bootstrap.iqm(np.arange(8.0)[:, None]) == [(2 + 3 + 4 + 5) / 4]
    for scores in (SCORES, SCORES[:7], SCORES[:, :1]):
        assert bootstrap.iqm(scores)[0] == metrics.aggregate_iqm(scores)
    curves = np.stack([SCORES, 2 * SCORES], axis=2)
    assert bootstrap.iqm(curves) == pytest.approx([metrics.aggregate_iqm(SCORES), metrics.aggregate_iqm(2 * SCORES)])


def test_the_same_scores_give_the_same_interval_whatever_was_drawn_before():
    np.random.seed(1)
    first = bootstrap.estimate(bootstrap.iqm, SCORES)
    np.random.seed(2)
    expected = np.random.get_state()[1].copy()
    again = bootstrap.estimate(bootstrap.iqm, SCORES)
    assert [list(part) for part in first] == [list(part) for part in again]
    assert (np.random.get_state()[1] == expected).all(), "numpy's global generator is left as it was"
    assert first[1] < first[0] < first[2]


def test_runs_are_drawn_within_their_game():
    """Games that lie far apart and do not spread: whatever is drawn, every game keeps its own values."""
    apart = np.tile([0.0, 100.0], (6, 1))
    value, low, high = bootstrap.estimate(np.mean, apart)
    assert (value, low, high) == (50.0, 50.0, 50.0)


def test_the_mean_s_interval_is_near_the_normal_one():
    scores = np.random.default_rng(0).normal(size=(400, 1))
    _, low, high = bootstrap.estimate(np.mean, scores)
    half_width = 1.96 * scores.std(ddof=1) / 20
    assert (low[0], high[0]) == pytest.approx((scores.mean() - half_width, scores.mean() + half_width), abs=0.02)


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    values, low, high = bootstrap.profile(SCORES, np.array([-10.0, 2.0, 20.0]))
    assert values == pytest.approx([1.0, np.mean(SCORES > 2.0), 0.0])
    assert (low <= values).all() and (values <= high).all()
