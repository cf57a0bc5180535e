"""How a mini-scale run stands against the others at its setting."""

import examples
import pytest

from experiments.verdict.standing import ordinal, places, standing


def test_ranks_the_optimizers_of_the_same_setting():
    run = examples.mini(96.1)
    others = [examples.mini(96.4, "adamw"), examples.mini(90.0, "sgd"), examples.mini(95.0, "lamb"), run]
    assert standing(run, others) == (
        "2nd of 4 at this setting: adamw 96.40, adan 96.10 (this run), lamb 95.00, sgd 90.00; "
        "with one seed, small gaps may be chance"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "swin_tiny"},
        {"recipe": "setting_1"},
        {"scale": "paper"},
        {"epochs": 150},
        {"status": "partial"},
        {"overrides": ["model.drop_path=0.5"]},
        {"config": {"data": {"name": "digits"}}},
        {"config": {"schedule": {"epochs": 5}}},
        {"config": {"global_batch_size": 32}},
    ],
)
def test_leaves_out_what_ran_at_another_setting(changes):
    other = examples.mini(99.0, "adamw") | {key: value for key, value in changes.items() if key != "config"}
    other["config"] = other["config"] | changes.get("config", {})
    assert standing(examples.mini(96.1), [other]) == (
        "the only optimizer run at this setting so far (adan 96.10 (this run))"
    )


def test_nominal_batch_sizes_may_differ_where_those_that_ran_are_the_same():
    line = standing(examples.mini(96.1), [examples.mini(99.0, "adamw", batch_size=1024)])
    assert line.startswith("2nd of 2 at this setting: adamw 99.00, adan 96.10 (this run)")


def test_averages_seeds_and_says_how_many():
    run = examples.mini(96.0, seed=1)
    others = [examples.mini(97.0, seed=0), examples.mini(95.0, "adamw"), examples.mini(96.0, "adamw", seed=3)]
    assert standing(run, others) == (
        "1st of 2 at this setting: adan 96.50 (mean of 2 seeds, this one included), adamw 95.50 (mean of 2 seeds)"
    )


def test_a_changed_hyper_parameter_competes_under_its_own_name():
    run = examples.mini(90.0, overrides=["optim.lr=0.1"])
    assert standing(run, [examples.mini(96.0)]).startswith(
        "2nd of 2 at this setting: adan 96.00, adan (optim.lr=0.1) 90.00 (this run)"
    )


def test_ties_share_a_rank_and_smaller_can_be_better():
    tied = [examples.mini(1.5, "adan"), examples.mini(1.5, "adamw"), examples.mini(2.0, "sgd")]
    assert [(place.name, place.rank) for place in places(tied, "top1", "min")] == [
        ("adamw", 1),
        ("adan", 1),
        ("sgd", 3),
    ]


def test_a_run_without_a_finite_result_has_no_rank():
    assert "no finite top1" in standing(examples.mini(float("nan")), [examples.mini(95.0, "adamw")])


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st")]
)
def test_ordinals(number, text):
    assert ordinal(number) == text
