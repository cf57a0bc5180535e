"""Time to target, performance profiles and reference convergence points, by their published definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.verdict import reference_convergence as rcp
from experiments.verdict.performance_profile import profile, ratios, scores, steps
from experiments.verdict.time_to_target import NOT_REACHED, Time, fingerprint, median, one_fingerprint, time_to_target

EVALUATIONS = [{"update": 10 * n, "epoch": n - 1, "top1": value} for n, value in enumerate([5.0, 40.0, 39.0, 60.0], 1)]
CLOCK = [{"kind": "epoch", "update": 10 * n, "seconds": 2.0 + n} for n in range(1, 5)]


@pytest.mark.parametrize(
    ("target", "direction", "time"),
    [
        (40.0, "max", Time(20, 2, 7.0)),
        (39.5, "max", Time(20, 2, 7.0)),  # the first time counts, though it fell below again
        (40.1, "max", Time(40, 4, 18.0)),
        (60.1, "max", NOT_REACHED),
        (5.0, "min", Time(10, 1, 3.0)),
        (4.0, "min", NOT_REACHED),
    ],
)
def test_the_first_evaluation_as_good_as_the_target_counts(target, direction, time):
    assert time_to_target(EVALUATIONS, CLOCK, "top1", target, direction) == time


def test_an_evaluation_without_a_finite_value_reaches_nothing_and_a_clock_that_was_lost_says_so():
    lost = [{"update": 10, "epoch": 0, "top1": math.nan}, {"update": 20, "epoch": 1, "top1": 50.0}]
    assert time_to_target(lost, CLOCK, "top1", 40.0, "max").updates == 20
    assert math.isnan(time_to_target(EVALUATIONS, [], "top1", 40.0, "max").seconds)


@pytest.mark.parametrize(
    ("updates", "expected"),
    [([30, 10, 20], 20), ([10, math.inf, 20], 20), ([10, math.inf, math.inf], math.inf), ([], math.inf)],
)
def test_over_seeds_the_median_counts_and_never_is_infinity(updates, expected):
    assert median([Time(one, one, one) for one in updates]).updates == expected


def record(**hardware):
    machine = {"cpu": "AMD EPYC", "cores": 2, "accelerator": None, **hardware}
    return {"hardware": machine, "threads": 1, "config": {"precision": "fp32"}, "packages": {"torch": "2.15.0"}}


def test_seconds_are_compared_on_one_kind_of_machine_only():
    assert one_fingerprint([record(), record(memory_bytes=7)]) and fingerprint(record()) == fingerprint(record())
    assert not one_fingerprint([record(), record(cpu="another")])


# Two problems; three methods: the fastest, one half as fast and then lost, one at three times everywhere.
TIMES = {"a": {"p": 10.0, "q": 20.0}, "b": {"p": 20.0, "q": math.inf}, "c": {"p": 30.0, "q": 60.0}}


def test_a_profile_is_the_share_of_problems_within_a_factor_of_the_fastest():
    assert profile(TIMES, [1.0, 1.99, 2.0, 3.0, 4.0]) == {
        "a": [1.0, 1.0, 1.0, 1.0, 1.0],
        "b": [0.0, 0.0, 0.5, 0.5, 0.5],
        "c": [0.0, 0.0, 0.0, 1.0, 1.0],
    }
    assert scores(TIMES) == {"a": 1.0, "b": pytest.approx(0.5 * 2 / 3), "c": pytest.approx(1 / 3)}
    assert steps(TIMES)["c"] == [(1.0, 0.0), (3.0, 1.0), (4.0, 1.0)]


def test_a_problem_that_nobody_solves_counts_against_everybody():
    assert scores({"a": {"p": 1.0, "q": math.inf}, "b": {"p": 2.0}}) == {"a": 0.5, "b": pytest.approx(1 / 3)}


@pytest.mark.parametrize("time", [0.0, -1.0, math.nan])
def test_what_is_no_time_is_refused(time):
    with pytest.raises(ValueError, match="is no time"):
        ratios({"a": {"p": time}})


a_time = st.floats(1e-3, 1e6) | st.just(math.inf)
all_times = st.dictionaries(
    st.sampled_from("abcde"), st.fixed_dictionaries({"p": a_time, "q": a_time, "r": a_time}), min_size=1
)


@given(all_times, st.floats(1.0, 100.0))
def test_a_slower_method_never_raises_the_score_of_another(times, factor):
    slowest = {problem: factor * max(one[problem] for one in times.values()) for problem in "pqr"}
    before, after = scores(times), scores({**times, "new": slowest})
    assert all(after[method] <= before[method] for method in times)
    assert after["new"] <= max(after[method] for method in times) + 1e-12


@given(all_times, st.fixed_dictionaries({"p": a_time, "q": a_time, "r": a_time}))
def test_no_method_that_is_added_raises_the_score_of_another(times, new):
    before, after = scores(times), scores({**times, "new": new})
    assert all(after[method] <= before[method] + 1e-12 for method in times)


@given(all_times, st.floats(1e-2, 1e2))
def test_the_unit_of_time_does_not_matter_and_scores_lie_between_0_and_1(times, unit):
    scaled = {method: {problem: unit * value for problem, value in own.items()} for method, own in times.items()}
    for method, score in scores(times).items():
        assert -1e-12 <= score <= 1 + 1e-12
        assert scores(scaled)[method] == pytest.approx(score, abs=1e-6)


@given(all_times, st.sampled_from("pqr"), st.floats(0.1, 1.0))
def test_a_method_that_gets_faster_never_loses(times, problem, factor):
    for method, own in times.items():
        faster = {**times, method: {**own, problem: factor * own[problem]}}
        assert scores(faster)[method] >= scores(times)[method] - 1e-12


@settings(max_examples=20, deadline=None)
@given(all_times)
def test_the_score_is_the_integral_of_the_profile(times):
    taus = np.linspace(1.0, 4.0, 3001)
    for method, curve in profile(times, list(taus)).items():
        assert np.trapezoid(curve, taus) / 3 == pytest.approx(scores(times)[method], abs=2e-3)


# The appendix "RCP Examples" of MLPerf Training's rules, its numbers as printed.
AT_128 = rcp.reference(128, [16, 14, 16, 17, 16, 16, 15, 16, 15, 16])
AT_256 = rcp.reference(256, [20, 21, 21, 20, 22, 22, 21, 21, 20, 20])
POINTS = [AT_128, AT_256]


@pytest.mark.parametrize(
    ("point", "mean", "deviation", "least", "speedup"),
    [(AT_128, 15.75, 0.43, 15.21, 1.0353), (AT_256, 20.75, 0.66, 19.93, 1.0412)],
)
def test_the_published_reference_points(point, mean, deviation, least, speedup):
    assert (round(point.mean, 2), round(point.deviation, 2)) == (mean, deviation)
    assert round(point.least(5), 2) == least
    assert point.speedup(5) == pytest.approx(speedup, abs=1e-4)


@pytest.mark.parametrize(
    ("batch_size", "epochs", "kind", "mean"),
    [
        (128, [15, 15, 15, 16, 16], rcp.PASSED, 15.33),  # S1
        (256, [19, 19, 19, 20, 21], rcp.FAILED, 19.33),  # S2
        (192, [17, 18, 18, 18, 20], rcp.PASSED, 18.0),  # S3, interpolated
        (512, [25, 25, 25, 25, 25], rcp.MISSING, 25.0),  # S4, above all references
        (64, [16, 16, 16, 16, 16], rcp.PASSED, 16.0),  # S5, meets the smallest's
        (64, [14, 14, 14, 14, 14], rcp.MISSING, 14.0),  # S6, does not
    ],
)
def test_the_published_submissions(batch_size, epochs, kind, mean):
    found = rcp.check(POINTS, batch_size, epochs)
    assert (found.kind, round(found.mean, 2)) == (kind, mean)


def test_the_published_interpolation_and_the_factor_of_a_lucky_time():
    found = rcp.check(POINTS, 192, [17, 18, 18, 18, 20])
    assert found.interpolated and found.point.mean == 18.25 and found.point.deviation == pytest.approx(0.547, abs=5e-4)
    assert found.point.speedup(5) == pytest.approx(1.0368, abs=2e-4)
    assert found.normalise == pytest.approx(18.25 / 18)
    assert rcp.check(POINTS, 128, [16, 16, 16, 16, 17]).normalise == 1.0


def test_points_slower_than_the_line_between_their_neighbours_are_pruned():
    points = [
        rcp.Point(size, mean, 0.5, 8) for size, mean in ((64, 17.0), (128, 16.0), (256, 19.0), (384, 18.0), (512, 20.0))
    ]
    assert [point.batch_size for point in rcp.pruned(points, 5)] == [128, 384, 512]


def test_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="needs four runs or more, not 3"):
        rcp.reference(128, [1, 2, 3])
    with pytest.raises(ValueError, match="needs three runs or more, not 2"):
        rcp.check(POINTS, 128, [1, 2])
