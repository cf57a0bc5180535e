"""Normalised returns over games, and the numbers of one arm, against numpy by hand."""

from __future__ import annotations

import numpy as np
import ppo_records
import pytest
import yaml

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.verdict import across_games, bootstrap, claims
from experiments.verdict.arm_summary import summarise

METRIC = "episode_return"
RANDOM = {"HalfCheetah": -100.0, "Hopper": 20.0, "Swimmer": 0.0}
ADAM = {"ppo_halfcheetah": [900.0 + 10 * i for i in range(10)], "ppo_hopper": [220.0 + i for i in range(10)]}
ADAN = {exp: [0.5 * value for value in values] for exp, values in ADAM.items()}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    monkeypatch.setattr(bootstrap, "REPETITIONS", 200)
    measured = {"games": {game: {"mean_return": value} for game, value in RANDOM.items()}}
    (tmp_path / "random_policy").mkdir()
    (tmp_path / "random_policy" / "returns.yaml").write_text(yaml.safe_dump(measured))
    return tmp_path


def judged(results, *missing):
    records = []
    for optim, values in (("adam", ADAM), ("adan", ADAN)):
        for exp, finals in values.items():
            records += ppo_records.arm(finals[: 9 if (exp, optim) in missing else 10], exp, optim)
    for record in records:
        ppo_records.write(results, record)
    return claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records)


def test_scores_are_zero_for_random_actions_and_one_for_the_baseline(results):
    protocol = judged(results)
    scales = across_games.units(protocol)
    assert scales == {"HalfCheetah": across_games.Unit(-100.0, 945.0), "Hopper": across_games.Unit(20.0, 224.5)}
    found = across_games.aggregate(protocol, scales, METRIC)
    assert found is not None and found.games == ("HalfCheetah", "Hopper")
    assert found.mean["adam"].values == pytest.approx([1.0])
    by_hand = np.mean([(0.5 * 945 + 100) / 1045, (0.5 * 224.5 - 20) / 204.5])
    assert found.mean["adan"].values == pytest.approx([by_hand])
    scores = np.stack([(np.array(ADAN["ppo_halfcheetah"]) + 100) / 1045, (np.array(ADAN["ppo_hopper"]) - 20) / 204.5])
    assert found.iqm["adan"].values == pytest.approx([np.sort(scores.ravel())[5:15].mean()])
    assert found.improvement.values == [0.0]


def test_profiles_and_efficiency_end_at_the_final_scores(results):
    protocol = judged(results)
    found = across_games.aggregate(protocol, across_games.units(protocol), METRIC)
    assert found is not None and found.steps == (1000, 2000, 3000)
    assert found.efficiency["adan"].values[-1] == pytest.approx(found.iqm["adan"].values[0])
    assert found.efficiency["adan"].values[0] < found.efficiency["adan"].values[1]
    profile = found.profile["adam"].values
    assert profile[0] == 1.0 and profile[-1] == 0.0 and (np.diff(profile) <= 0).all()


def test_a_run_that_failed_counts_with_the_lowest_return_of_its_game(results):
    """Leaving it out, or its game, would help the optimizer that diverged."""
    records = [
        *(
            run
            for optim, values in (("adam", ADAM), ("adan", ADAN))
            for exp in values
            for run in ppo_records.arm(values[exp], exp, optim)
        )
    ]
    lost = records[-1]
    lost["status"] = "diverged"
    for record in records:
        ppo_records.write(results, record)
    protocol = claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records)
    found = across_games.aggregate(protocol, across_games.units(protocol), METRIC)
    assert found is not None and found.games == ("HalfCheetah", "Hopper")
    cheetah = [(0.5 * value + 100) / 1045 for value in ADAM["ppo_halfcheetah"]]
    hopper = [(0.5 * value - 20) / 204.5 for value in ADAM["ppo_hopper"][:9]]
    assert found.mean["adan"].values == pytest.approx([np.mean([*cheetah, *hopper, 0.0])])


@pytest.mark.parametrize("missing", [("ppo_hopper", "adam"), ("ppo_hopper", "adan")])
def test_a_game_with_missing_seeds_is_left_out_and_one_game_is_no_aggregate(results, missing):
    protocol = judged(results, missing)
    assert across_games.aggregate(protocol, across_games.units(protocol), METRIC) is None


def test_a_baseline_below_random_actions_is_no_scale(results):
    path = results / "random_policy" / "returns.yaml"
    path.write_text(yaml.safe_dump({"games": {"Hopper": {"mean_return": 9999.0}}}))
    assert across_games.units(judged(results)) == {}
    path.write_text("games: 3")
    with pytest.raises(UserError, match="holds no returns of a random policy"):
        across_games.load_random_policy()


def test_the_repository_s_random_policy_covers_every_game_of_the_study():
    measured = across_games.load_random_policy()
    from experiments.schema.studies import load_study

    assert {claims.label_of(exp) for exp in load_study("f2").stage("published").exps} == measured.keys()


def test_an_arm_in_numbers(results):
    game = judged(results).games[1]
    found = summarise(game.baseline, METRIC)
    finals = np.array(ADAM["ppo_hopper"])
    assert found.mean.value == pytest.approx(finals.mean()) and found.iqm.value == pytest.approx(finals[2:8].mean())
    heights = np.array([0.25, 0.5, 1.0])
    assert found.areas == pytest.approx([np.trapezoid(heights * final, dx=0.5) for final in finals])
    assert [point.value for point in found.curve] == pytest.approx(list(heights * finals.mean()))
    assert found.steps == (1000, 2000, 3000)
