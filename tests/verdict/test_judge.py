"""One test per rule of the verdict, with numbers computed by hand."""

import dataclasses
import random

import examples
import pytest

from experiments.schema.errors import UserError
from experiments.schema.tables import Cell
from experiments.verdict.judge import judge
from experiments.verdict.reported import find_reported, load_reported
from experiments.verdict.spread import load_spread

CELL = Cell(exp="vit_small", optim="adan", epochs=300, recipe="setting_2", reported="T4-004")


def seeds(*values, **changes):
    return [examples.record(value, seed=seed, **changes) for seed, value in enumerate(values)]


def verdict(records, id="T4-004"):
    return judge(records, CELL, find_reported(load_reported(), id, "test"))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        # One run, sourced sd 0.104 with 12 degrees of freedom: the interval is +- 0.320.
        ([80.7], "reproduced"),
        ([80.39], "reproduced"),
        ([80.37], "worse"),
        ([81.01], "reproduced"),
        ([81.03], "better"),
        # Three seeds with sd 0.1: +- 4.30265 x 0.1 x 1.15470 = 0.497.
        ([80.1, 80.2, 80.3], "worse"),
        ([80.2, 80.3, 80.4], "reproduced"),
        ([81.1, 81.2, 81.3], "better"),
        ([81.0, 81.1, 81.2], "reproduced"),
        ([80.2, 80.7, 81.2], "reproduced"),
        ([80.6, 80.7], "reproduced"),
        ([70.0, 70.1], "worse"),
    ],
)
def test_kind_by_hand(results, values, kind):
    assert verdict(seeds(*values)).kind == kind


@pytest.mark.parametrize(
    ("values", "weak"),
    [
        # sd 0.5: three such seeds detect 5.6535 x 0.5 x 1.15470 = 3.26 points, more than the tolerance of 1.
        ([80.2, 80.7, 81.2], True),
        # Two seeds have one degree of freedom and detect 16.334 x 0.0707 x 1.2247 = 1.41 points.
        ([80.6, 80.7], True),
        ([80.6, 80.7, 80.8], False),
        ([80.7], False),
    ],
)
def test_a_comparison_that_could_not_have_seen_a_point_is_said_to_be_weak(results, values, weak):
    assert ("weak" in verdict(seeds(*values)).text) == weak


def test_lower_is_better_where_the_metric_says_so(results):
    number = examples.reported(id="T8-001", metric="perplexity", direction="min", value=61.2, dataset="PTB")
    examples.write_facts(results, [number], [])

    def perplexity(*values):
        made = seeds(*values)
        for record in made:
            record["summary"] = {"perplexity": record["summary"]["top1"]}
        return verdict(made, id="T8-001").kind

    assert perplexity(61.9, 62.0, 62.1) == "worse"
    assert perplexity(60.3, 60.4, 60.5) == "better"
    assert perplexity(61.1, 61.2, 61.3) == "reproduced"


def test_states_n_interval_assumptions_and_smallest_detectable_difference(results):
    made = verdict(seeds(80.3))
    assert (made.n, made.mean, made.difference) == (1, 80.3, pytest.approx(-0.4))
    assert (made.interval.low, made.interval.high) == pytest.approx((-0.72046, -0.07954), abs=1e-5)
    assert made.smallest_detectable == pytest.approx(3.0527 * 0.104 * 2**0.5, abs=1e-3)
    assert "n = 1 (seed 0)" in made.text and "[-0.72, -0.08]" in made.text and "80 % power: 0.45" in made.text
    paper, source = made.assumptions
    assert "reported number is one run" in paper
    assert "sd 0.104" in source and "Goyal et al." in source and "vit_small with adan" in source


def test_several_seeds_use_their_own_spread(results):
    made = verdict(seeds(80.2, 80.3, 80.4))
    assert made.interval.high - made.interval.low == pytest.approx(2 * 0.49683, abs=1e-4)
    assert len(made.assumptions) == 1 and "n = 3 (seeds 0, 1, 2)" in made.text


def test_one_run_without_a_sourced_spread_is_inconclusive(results):
    examples.write_facts(results, [examples.reported()], [examples.spread(dataset="CIFAR-10")])
    made = verdict(seeds(70.0))
    assert made.kind == "inconclusive" and "no sourced spread of top1 on ImageNet-1k" in made.text
    assert made.interval is None and made.difference == pytest.approx(-10.7)


def test_equal_seeds_claim_no_certainty(results):
    """Two runs with the very same result have a sample sd of zero; the sourced spread is used instead."""
    made = verdict(seeds(80.5, 80.5))
    assert made.kind == "reproduced" and "Goyal" in made.assumptions[1]
    # 2.17881 x 0.104 x sqrt(1/2 + 1) = 0.27752
    assert made.interval.high == pytest.approx(-0.2 + 0.27752, abs=1e-4)


@pytest.mark.parametrize("values", [[70.0], [79.0, 79.1, 79.2]])
def test_settings_of_ours_are_never_worse(results, values):
    made = verdict(seeds(*values, config={"provenance": examples.OURS}))
    assert made.kind == "not reproduced with our settings"
    assert "settings of ours, not the authors': optim.lr" in made.text


def test_settings_of_ours_that_surpass_the_paper_are_reproduced(results):
    made = verdict(seeds(85.0, config={"provenance": examples.OURS}))
    assert made.kind == "reproduced" and "significantly better than reported" in made.text


def test_settings_of_ours_are_never_worse_whatever_the_draw(results):
    draw, kinds = random.Random(0), set()
    for _ in range(200):
        values = [draw.gauss(80.7, 1.5) for _ in range(draw.choice([1, 2, 3, 5]))]
        kinds.add(verdict(seeds(*values, config={"provenance": examples.OURS})).kind)
    assert kinds == {"reproduced", "not reproduced with our settings"}


def test_one_setting_of_ours_in_any_seed_is_enough(results):
    own = examples.record(79.0, seed=1, config={"provenance": {"default": {"level": "ours", "source": "-"}}})
    assert verdict([examples.record(79.1), own, examples.record(79.2, seed=2)]).kind.startswith("not reproduced")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scale": "mini"}, "mini scale"),
        ({"overrides": ["optim.lr=0.01"]}, "the command line changed the recipe (optim.lr=0.01)"),
        ({"overrides": ["data=cifar10"]}, "data=cifar10"),
        ({"status": "partial"}, "the run stopped at update 100 of 100 (partial)"),
        ({"summary": {"top5": {"last": 95.0, "best": 95.0, "reported": "last"}}}, "no finite top1"),
        ({"summary": {"top1": {"last": "nan", "best": 80.0, "reported": "last"}}}, "no finite top1"),
        ({"summary": {"top1": {"last": None, "best": None, "reported": "last"}}}, "no finite top1"),
    ],
)
def test_what_is_not_the_recipe_is_not_comparable(results, changes, reason):
    made = verdict(seeds(80.7, **changes))
    assert made.kind == "not comparable" and reason in made.text and made.mean is None


def test_choosing_the_paper_s_own_data_set_changes_nothing(results):
    assert verdict(seeds(80.7, overrides=["data=imagenet"])).kind == "reproduced"


def test_runs_that_do_not_count_do_not_dilute_those_that_do(results):
    others = [
        examples.record(10.0, seed=7, overrides=["optim.lr=9"]),
        examples.record(20.0, seed=8, scale="mini"),
        examples.record(30.0, seed=9, status="partial"),
    ]
    made = verdict([*others, examples.record(80.6)])
    assert (made.kind, made.n, made.mean) == ("reproduced", 1, 80.6)


def test_without_runs_and_without_a_number(results):
    assert verdict([]).kind == "not run"
    assert judge(seeds(80.0), CELL, None).kind == "not comparable"


def test_the_latest_attempt_of_a_seed_counts_once(results):
    first = examples.record(70.0)
    second = examples.record(80.6) | {"run": first["run"] + "-attempt2"}
    tenth = examples.record(80.7) | {"run": first["run"] + "-attempt10"}
    made = verdict([tenth, first, second])
    assert (made.n, made.mean, made.runs) == (1, 80.7, (tenth["run"],))


def test_seeds_of_a_recipe_that_changed_since_are_set_aside(results):
    old = examples.record(60.0, seed=5, config_digest="a" * 64)
    assert verdict([old, *seeds(80.6, 80.7, 80.8)]).n == 3


def test_the_paper_s_cell_may_mean_the_best_epoch(results):
    assert verdict([examples.record(80.0, best=80.7, means="best")]).mean == 80.7
    assert verdict([examples.record(80.0, best=80.7, means="last")]).mean == 80.0


@pytest.mark.parametrize(
    "note",
    [
        "SUSPECT: AdamW 150 epochs equals AdamW 300 epochs",
        "DISAGREEMENT: article and main README 80.7; supervised.md 80.9",
        "Adam has a second published value 66.54 (RAdam paper)",
    ],
)
def test_doubts_about_the_reported_number_are_said(results, note):
    examples.write_facts(results, [examples.reported(note=note)], [examples.spread()])
    assert verdict(seeds(80.7)).text.endswith(f"Mind that the reported number is in doubt: {note}")


def test_a_harmless_note_is_no_doubt(results):
    examples.write_facts(results, [examples.reported(note="powers of two assumed")], [examples.spread()])
    assert "Mind" not in verdict(seeds(80.7)).text


@pytest.mark.parametrize("n", [3, 5])
def test_error_rate_of_the_verdicts(results, monkeypatch, n):
    """With equal true means, `worse` and `better` each come up in 2.5 % of the comparisons."""
    monkeypatch.setattr("experiments.verdict.judge.load_spread", lambda metric, dataset: None)
    draw, kinds, draws = random.Random(10 + n), [], 4000
    number = load_reported()["T4-004"]
    for _ in range(draws):
        one = dataclasses.replace(number, value=draw.gauss(80.7, 0.2))
        kinds.append(judge(seeds(*(draw.gauss(80.7, 0.2) for _ in range(n))), CELL, one).kind)
    assert kinds.count("worse") / draws == pytest.approx(0.025, abs=0.008)
    assert kinds.count("better") / draws == pytest.approx(0.025, abs=0.008)
    assert set(kinds) == {"worse", "better", "reproduced"}


def test_a_number_that_does_not_exist_names_the_nearest(results):
    with pytest.raises(UserError, match=r"t4\.yaml.*'T4-04'.*did you mean 'T4-004'"):
        find_reported(load_reported(), "T4-04", "configs/table/t4.yaml")


def test_a_number_stated_twice_is_refused(results):
    examples.write_facts(results, [examples.reported(), examples.reported(value=81.0)], [])
    with pytest.raises(UserError, match=r"T4-004.*twice"):
        load_reported()


def test_the_repository_s_spread_is_what_its_source_says():
    spread = load_spread("top1", "ImageNet-1k")
    assert spread.sd == pytest.approx(((0.10**2 + 0.12**2 + 0.09**2) / 3) ** 0.5, abs=5e-4)
    assert spread.degrees_of_freedom == 3 * (5 - 1) and "1706.02677" in spread.source
    assert load_spread("top1", "CIFAR-10") is None


@pytest.mark.parametrize(("micro_batch", "kind"), [(256, "reproduced"), (32, "not comparable")])
def test_batch_norm_over_another_micro_batch_is_not_the_recipe(results, micro_batch, kind):
    split = {"ranks": 8, "micro_batch": micro_batch, "batch_norm": True}
    assert verdict(seeds(80.7, split=split, config={"batch_per_device": 256})).kind == kind
    assert (
        verdict(seeds(80.7, split=split | {"batch_norm": False}, config={"batch_per_device": 256})).kind == "reproduced"
    )
