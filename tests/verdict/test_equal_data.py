"""Which runs may be judged together, by what they read."""

from __future__ import annotations

import examples
import pytest

from experiments.verdict.equal_data import equal_to, of_equal_data, set_aside


def of(name, seed, value=80.0, **changes):
    """A run that read the folder of contents `name`."""
    data = {"name": "imagenet", "source": "an image folder", "digest": name * 64, "digest_covers": "contents of files"}
    return examples.record(value, seed=seed, data=data, **changes)


def simulated(engine_version, seed):
    """A run of a simulator, which has no digest."""
    return examples.record(80.0, seed=seed, data={"name": "mujoco", "engine_version": engine_version})


def seeds(records):
    return [record["seed"] for record in records]


def test_seeds_on_different_data_are_never_pooled():
    """The case of the issue: 50.18 and 86.64 on two folders had become "mean of 2 seeds 68.41"."""
    first, second = of("a", 0, 50.18), of("b", 1, 86.64)
    assert of_equal_data([second, first]) == [first]


@pytest.mark.parametrize("make", [of, simulated])
def test_the_data_with_the_most_seeds_are_judged_and_of_equal_ones_those_of_the_lowest(make):
    assert seeds(of_equal_data([make("a", 0), make("b", 1), make("b", 2)])) == [1, 2]
    assert seeds(of_equal_data([make("b", 3), make("a", 0), make("b", 1), make("a", 2)])) == [0, 2]
    assert of_equal_data([]) == []


def test_attempts_of_one_seed_do_not_outnumber_two_seeds():
    again = [of("a", 0) | {"run": f"run-seed0-attempt{attempt}"} for attempt in (2, 3, 4)]
    assert seeds(of_equal_data([*again, of("b", 1), of("b", 2)])) == [1, 2]


def test_another_attempt_on_new_data_is_judged_beside_an_unfinished_run_on_old_ones():
    """The way out of `force=true`: what was begun on the wrong folder and left does not stand in its way."""
    left = of("a", 0, status="partial")
    again = of("b", 0) | {"run": left["run"] + "-attempt2"}
    assert of_equal_data([left, again]) == [again]
    ended = left | {"status": "diverged"}
    tenth = of("c", 0) | {"run": left["run"] + "-attempt10"}
    assert of_equal_data([tenth, again, ended]) == [ended], "a run that ended badly is not replaced by another"
    assert of_equal_data([tenth, again]) == [again]


def test_results_decide_nothing():
    for value in (0.0, 100.0):
        assert seeds(of_equal_data([of("a", 0, value), of("b", 1, 50.0)])) == [0]


def test_earlier_records_that_cannot_tell_are_given_the_benefit_of_the_doubt():
    """Committed records describe what was loaded, or nothing: they go on being judged, also beside new ones."""
    former = {"name": "mnist", "digest": "f" * 64, "digest_covers": "pixels and labels"}
    old = [examples.record(80.0, seed=0), examples.record(80.0, seed=1, data=former)]
    assert seeds(of_equal_data([*old, of("a", 2)])) == [0, 1, 2]


def test_a_run_is_held_against_those_of_its_own_data():
    run = of("b", 5)
    assert seeds(equal_to(run, [of("a", 0), of("b", 1), run])) == [1, 5]


def test_both_data_and_the_way_out_are_named():
    judged, left = [of("b", 1), of("b", 2)], [of("a", 0), of("a", 7)]
    sentence = set_aside(left, judged)
    assert sentence.startswith(
        "not judged, because of other data: seed 0, 7, which read an image folder (digest aaaaaa"
    )
    assert "and not an image folder (digest bbbb" in sentence and "move the records of one of the two" in sentence
    assert set_aside([judged[0]], judged) == "" == set_aside(left, [])
