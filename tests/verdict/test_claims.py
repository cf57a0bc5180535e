"""Which runs fill an arm, which rate was chosen, and what is said of a game and of the claim as a whole."""

from __future__ import annotations

import statistics
from dataclasses import replace

import examples
import ppo_records
import pytest

from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.studies import Stage
from experiments.verdict import claims, two_samples
from experiments.verdict.arms import make_arm, read_curves
from experiments.verdict.tuning import choose_rate

METRIC = "episode_return"
LOW, HIGH = [float(value) for value in range(10)], [float(value) + 100.5 for value in range(10)]


def published(**values):
    """The protocol judged from final returns: `hopper=(adam, adan)`."""
    records = []
    for name, pair in values.items():
        for optim, finals in zip(("adam", "adan"), pair, strict=True):
            records += ppo_records.arm(finals, f"ppo_{name}", optim)
    return claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records)


def kinds(protocol):
    return {game.name: game.kind for game in protocol.games}


def test_only_finished_unchanged_runs_of_the_stage_fill_an_arm():
    strays = [
        ppo_records.record(1.0, seed=1, status="partial"),
        ppo_records.record(2.0, seed=2, scale="mini"),
        ppo_records.record(3.0, seed=3, epochs=147),
        ppo_records.record(4.0, seed=4, recipe="tianshou"),
        ppo_records.record(5.0, seed=50),
        ppo_records.record(6.0, seed=6, rate=1e-3),
        ppo_records.record(7.0, seed=7, overrides=["clip_grad_norm=9"]),
        ppo_records.record(8.0, seed=8, exp="ppo_swimmer"),
        ppo_records.record(9.0, seed=9, optim="adan"),
    ]
    made = make_arm(ppo_records.PUBLISHED, "ppo_hopper", "adam", [ppo_records.record(0.5), *strays], METRIC)
    assert (made.values, made.rate, made.complete) == ((0.5,), 3e-4, False)


def test_a_repeated_seed_counts_once_and_a_run_without_a_finite_return_not_at_all():
    first = ppo_records.record(1.0, seed=3)
    second = ppo_records.record(2.0, seed=3) | {"run": first["run"] + "-attempt2"}
    lost = ppo_records.record(float("nan"), seed=4)
    made = make_arm(ppo_records.PUBLISHED, "ppo_hopper", "adam", [second, first, lost], METRIC)
    assert made.values == (1.0,) and made.without_value == (lost["run"],)


def tuning(**means):
    """Two seeds at each rate of the grid, one below its mean and one above."""
    records = []
    for name, mean in means.items():
        rate = float(name.removeprefix("lr").replace("_", "-"))
        for seed, value in ((100, mean - 1), (101, mean + 1)):
            records.append(ppo_records.record(value, seed=seed, epochs=147, rate=None if rate == 3e-4 else rate))
    return records


def chosen(records):
    return choose_rate(records, ppo_records.TUNING, "ppo_hopper", "adam")


def test_the_rate_with_the_best_mean_over_tuning_seeds_is_chosen():
    choice = chosen(tuning(lr1e_4=5, lr3e_4=9, lr1e_3=7))
    assert choice is not None
    assert choice == (3e-4, {1e-4: 5.0, 3e-4: 9.0, 1e-3: 7.0}, {})
    assert choice.at_edge == ""


def test_of_equal_rates_the_smaller_is_chosen_and_an_edge_is_told():
    choice = chosen(tuning(lr1e_4=9, lr3e_4=9, lr1e_3=9))
    assert choice is not None and (choice.rate, choice.at_edge) == (1e-4, "lowest")
    best = chosen(tuning(lr1e_4=1, lr3e_4=2, lr1e_3=3))
    assert best is not None and (best.rate, best.at_edge) == (1e-3, "highest")


def test_nothing_is_chosen_while_a_run_of_the_grid_is_missing():
    assert chosen(tuning(lr1e_4=5, lr3e_4=9, lr1e_3=7)[:-1]) is None
    assert chosen([]) is None


WITHOUT_VALUE = {
    "without a finite return": lambda run: run | {"summary": {"episode_return": {"last": float("nan")}}},
    "ended by a non-finite loss": lambda run: run | {"status": "diverged"},
}


@pytest.mark.parametrize("how", WITHOUT_VALUE)
def test_a_rate_at_which_a_run_diverged_is_never_chosen(how):
    lost = WITHOUT_VALUE[how]
    *others, last = tuning(lr1e_4=5, lr3e_4=6, lr1e_3=100)
    choice = chosen([*others, lost(last)])
    assert choice is not None
    assert (choice.rate, choice.at_edge, choice.failures) == (3e-4, "", {1e-3: (last["run"],)})
    assert chosen([*others[1:], lost(last)]) is None, "another run is merely unfinished"
    nothing = chosen([*map(lost, [*others, last])])
    assert nothing is not None and nothing.rate is None
    assert list(nothing.failures) == [1e-4, 3e-4, 1e-3]


def test_a_run_that_a_non_finite_loss_ended_is_no_seed_of_an_arm():
    lost = ppo_records.record(2.0, seed=1, status="diverged")
    made = make_arm(ppo_records.PUBLISHED, "ppo_hopper", "adam", [ppo_records.record(1.0), lost], METRIC)
    assert (made.values, made.diverged, made.ended) == ((1.0,), (lost["run"],), False)


def test_a_stage_without_a_list_of_rates_has_no_choice():
    with pytest.raises(UserError, match="published has no list of rates"):
        choose_rate([], ppo_records.PUBLISHED, "ppo_hopper", "adam")


@pytest.mark.parametrize(
    ("pair", "kind"),
    [
        ((LOW, HIGH), claims.BETTER),
        ((HIGH, LOW), claims.WORSE),
        ((LOW, [value + 0.5 for value in LOW]), claims.NO_DIFFERENCE),
        ((LOW, HIGH[:9]), claims.UNFINISHED),
        ((LOW, []), claims.UNFINISHED),
    ],
)
def test_the_verdict_on_a_game(pair, kind):
    protocol = published(hopper=pair)
    assert kinds(protocol) == {"HalfCheetah": "not run", "Hopper": kind, "Swimmer": "not run"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, "not run"),
        ({"hopper": (LOW, HIGH[:9])}, "not run"),
        ({"hopper": (LOW, HIGH), "swimmer": (LOW, HIGH)}, claims.OPEN),
        ({"hopper": (LOW, HIGH), "swimmer": (LOW, HIGH), "halfcheetah": (LOW, HIGH)}, claims.SUPPORTED),
        ({"hopper": (LOW, HIGH), "swimmer": (LOW, HIGH), "halfcheetah": (LOW, LOW[::-1])}, claims.OPEN),
        ({"hopper": (LOW, HIGH), "swimmer": (HIGH, LOW)}, claims.REFUTED),
    ],
)
def test_the_verdict_on_the_claim(values, kind):
    assert published(**values).kind == kind


def test_p_is_corrected_over_all_games_whether_they_have_been_run_or_not():
    """p = 0.029 in one of three games: not significant, alone as beside another game without a difference."""
    shifted = [value + 3.5 for value in LOW]
    alone = published(hopper=(LOW, shifted))
    beside = published(hopper=(LOW, shifted), swimmer=(LOW, [value + 0.5 for value in LOW]))
    assert alone.games[1] == beside.games[1]
    assert alone.games[1].kind == claims.NO_DIFFERENCE and alone.games[1].comparison.p < 0.05
    assert alone.games[1].adjusted == pytest.approx(3 * alone.games[1].comparison.p)


def test_seeds_that_diverged_count_as_the_lowest():
    """Ten seeds of Adam; six of Adan far above them, and four that a non-finite loss ended."""
    records = ppo_records.arm(LOW, "ppo_hopper", "adam") + ppo_records.arm(HIGH, "ppo_hopper", "adan")
    survived = claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records).games[1]
    lost = [record | {"status": "diverged"} if record["seed"] > 5 else record for record in records[10:]]
    game = claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records[:10] + lost).games[1]
    assert (survived.kind, game.kind) == (claims.BETTER, claims.NO_DIFFERENCE)
    assert not game.in_favour
    assert game.comparison.probability == pytest.approx(0.6) and game.comparison.difference > 90
    assert game.subject.ended and game.subject.n == 6


def test_seeds_of_another_configuration_are_not_mixed_in():
    """Three seeds of a recipe, and ten of the recipe as it was before, one of them a second attempt."""
    new = ppo_records.arm(LOW[:3], "ppo_hopper", "adam")
    old = [record | {"config_digest": examples.OLD} for record in ppo_records.arm(HIGH, "ppo_hopper", "adam")]
    old[0]["run"] += "-attempt2"
    made = make_arm(ppo_records.PUBLISHED, "ppo_hopper", "adam", [*new, *old], METRIC)
    assert made.values == tuple(LOW[:3])


@pytest.mark.parametrize("left", [0, 1, 3, 5])
def test_diverging_never_helps(left):
    """All but `left` seeds of Adan diverged, the others far above Adam's: worse, and the claim refuted, though Adan is
    better in every other game."""
    records = ppo_records.arm(LOW, "ppo_hopper", "adam") + ppo_records.arm(HIGH, "ppo_hopper", "adan")
    lost = [record | {"status": "diverged"} if record["seed"] >= left else record for record in records[10:]]
    for name in ("ppo_halfcheetah", "ppo_swimmer"):
        lost += ppo_records.arm(LOW, name, "adam") + ppo_records.arm(HIGH, name, "adan")
    protocol = claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records[:10] + lost)
    game = protocol.games[1]
    assert game.comparison.probability == left / 10
    expected = claims.WORSE if left < 2 else claims.NO_DIFFERENCE
    assert game.kind == expected and protocol.kind == (claims.REFUTED if left < 2 else claims.OPEN)


def test_arms_that_all_diverged_are_equal():
    both = ppo_records.arm(LOW, "ppo_hopper", "adam") + ppo_records.arm(LOW, "ppo_hopper", "adan")
    lost = [record | {"status": "diverged"} for record in both]
    game = claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, lost).games[1]
    assert (game.kind, game.comparison.probability, game.comparison.p) == (claims.NO_DIFFERENCE, 0.5, 1.0)
    assert game.comparison.difference is None


def test_intervals_beside_a_corrected_verdict_are_corrected():
    protocol = published(hopper=(LOW, HIGH))
    assert protocol.level == pytest.approx(1 - 0.05 / 3)
    assert protocol.games[1].comparison.interval == two_samples.newcombe(1.0, 10, 10, protocol.level)


def test_a_replication_is_told_beside_its_stage_and_changes_no_verdict():
    again = replace(
        ppo_records.PUBLISHED, name="again", seeds=list(range(300, 310)), exps=["ppo_hopper"], replicates="published"
    )
    study = replace(ppo_records.STUDY, stages=[ppo_records.PUBLISHED, again])
    records = ppo_records.arm(HIGH, "ppo_hopper", "adam", 300) + ppo_records.arm(LOW, "ppo_hopper", "adan", 300)
    [protocol] = claims.judge_study(study, records)
    assert (protocol.kind, len(protocol.games)) == ("not run", 3)
    [beside] = protocol.replications
    assert [game.kind for game in beside.games] == [claims.WORSE] and beside.games[0].comparison.p < 1e-4


def test_tuned_arms_hold_fresh_seeds_at_the_chosen_rate_only():
    stage, study = ppo_records.TUNED, ppo_records.STUDY
    records = tuning(lr1e_4=5, lr3e_4=6, lr1e_3=7)
    assert not claims.judge_stage(study, stage, records).begun
    records += ppo_records.arm(HIGH, "ppo_hopper", "adam", 200, rate=1e-3)
    records += ppo_records.arm(LOW, "ppo_hopper", "adam", 200, rate=1e-4)
    protocol = claims.judge_stage(study, stage, records)
    [game] = [game for game in protocol.games if game.name == "Hopper"]
    assert (game.baseline.rate, game.baseline.values, game.subject.rate) == (1e-3, tuple(HIGH), None)
    assert protocol.choices["ppo_hopper", "adam"].rate == 1e-3 and protocol.choices["ppo_hopper", "adan"] is None


def test_every_stage_but_the_grid_is_judged_and_two_optimizers_are_compared():
    assert [protocol.stage.name for protocol in claims.judge_study(ppo_records.STUDY, [])] == ["published", "tuned"]
    alone = Stage("alone", ["ppo_hopper"], ["adam"], "cleanrl", 488, [0])
    with pytest.raises(UserError, match="compares two optimizers, not 1"):
        claims.judge_stage(ppo_records.STUDY, alone, [])


def test_curves_are_read_from_the_events_that_were_sealed(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    records = ppo_records.arm([40.0, 80.0], "ppo_hopper", "adam")
    for record in records:
        path = ppo_records.write(tmp_path, record)
    made = make_arm(ppo_records.PUBLISHED, "ppo_hopper", "adam", records, METRIC)
    assert read_curves(made, METRIC) == ((1000, 2000, 3000), [(10.0, 20.0, 40.0), (20.0, 40.0, 80.0)])
    (path.parent / "events.jsonl").write_text('{"kind":"end","hash":"of another run"}\n')
    with pytest.raises(UserError, match=r"seed1: there is no events\.jsonl that ends as its record says"):
        read_curves(made, METRIC)


def test_curves_at_different_steps_are_not_averaged(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    records = ppo_records.arm([40.0, 80.0], "ppo_hopper", "adam")
    for record, heights in zip(records, ([0.5, 1.0], [0.2, 0.5, 1.0]), strict=True):
        ppo_records.write(tmp_path, record, heights)
    made = make_arm(ppo_records.PUBLISHED, "ppo_hopper", "adam", records, METRIC)
    with pytest.raises(UserError, match="evaluated at different steps"):
        read_curves(made, METRIC)


def test_the_mean_difference_is_of_means():
    [game] = [game for game in published(hopper=(LOW, HIGH)).games if game.comparison]
    assert game.comparison.difference == pytest.approx(statistics.fmean(HIGH) - statistics.fmean(LOW))


def test_games_on_different_simulators_are_not_compared():
    """Adam's seeds on one version, Adan's on another: whatever differs between them is no optimizer's doing."""
    newer = {"name": "mujoco", "engine": "mujoco", "engine_version": "5"}
    records = ppo_records.arm(LOW, "ppo_hopper", "adam") + ppo_records.arm(HIGH, "ppo_hopper", "adan", data=newer)
    game = claims.judge_stage(ppo_records.STUDY, ppo_records.PUBLISHED, records).games[1]
    assert (game.kind, game.baseline.n, game.subject.n) == (claims.UNFINISHED, 10, 0)


def test_rates_tried_on_different_simulators_are_not_compared():
    *others, last = tuning(lr1e_4=5, lr3e_4=6, lr1e_3=7)
    last["data"] = {"name": "mujoco", "engine_version": "5"}
    protocol = claims.judge_stage(ppo_records.STUDY, ppo_records.TUNED, [*others, last])
    assert protocol.choices["ppo_hopper", "adam"] is None
