"""One test per rule of the verdict, with numbers computed by hand."""

import random

import examples
import pytest

from experiments.schema.errors import UserError
from experiments.schema.tables import Cell
from experiments.verdict.judge import judge
from experiments.verdict.reported import find_reported, load_reported
from experiments.verdict.spread import load_sourced, spread_of

CELL = Cell(exp="vit_small", optim="adan", epochs=300, recipe="setting_2", reported="T4-004")


def seeds(*values, **changes):
    return [examples.record(value, seed=seed, **changes) for seed, value in enumerate(values)]


def verdict(records, id="T4-004", planned=()):
    return judge(records, CELL, find_reported(load_reported(), id, "test"), planned)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        # One run: twice the sourced sd 0.104, 3 degrees of freedom: +- 3.18245 x 0.208 x 1.41421 = 0.936.
        ([80.7], "inconclusive"),
        ([79.78], "inconclusive"),
        ([79.75], "worse"),
        ([81.62], "inconclusive"),
        ([81.65], "better"),
        # Two: their variance pooled with it, 3 degrees of freedom: sd 0.1836, +- 0.7155 at 95 %, 0.5291 at 90 %.
        ([80.6, 80.7], "inconclusive"),
        ([79.9, 80.0], "worse"),
        ([70.0, 70.1], "worse"),
        # Two that lie far apart have their own variance: 1.41421, +- 5.51.
        ([78.0, 80.0], "inconclusive"),
        # Three seeds with sd 0.1: +- 4.30265 x 0.1 x 1.15470 = 0.497 at 95 %, 0.337 at 90 %, the margin is 0.5.
        ([80.1, 80.2, 80.3], "worse"),
        ([80.2, 80.3, 80.4], "inconclusive"),
        ([80.5, 80.6, 80.7], "reproduced"),
        ([80.43, 80.53, 80.63], "inconclusive"),
        ([80.45, 80.55, 80.65], "reproduced"),
        ([80.75, 80.85, 80.95], "reproduced"),
        ([81.1, 81.2, 81.3], "better"),
        # The same mean as reported, and a spread that excludes nothing.
        ([80.2, 80.7, 81.2], "inconclusive"),
    ],
)
def test_kind_by_hand(results, values, kind):
    assert verdict(seeds(*values)).kind == kind


def test_not_significant_is_not_reproduced(results):
    """The case of the audit: 78.0 and 80.0 against 80.7 say nothing, and a second seed far off is no reproduction."""
    made = verdict(seeds(78.0, 80.0))
    assert made.kind == "inconclusive"
    assert (made.interval.low, made.interval.high) == pytest.approx((-1.7 - 5.5123, -1.7 + 5.5123), abs=1e-3)


def test_reproduced_says_so_where_it_also_differs(results):
    """Ten seeds of sd 0.03: the difference of 0.1 is real, and within the margin."""
    made = verdict(seeds(*[80.6 + 0.03 * sign for sign in (1, -1) * 5]))
    assert made.kind == "reproduced" and "and differs significantly (worse)" in made.text


def test_inconclusive_says_how_many_seeds_would_decide(results):
    """sd 0.1, difference -0.4: with n = 4 the 95 % interval is +- 3.18245 x 0.1 x 1.11803 = 0.356 and excludes 0."""
    assert "n = 4 would decide it" in verdict(seeds(80.2, 80.3, 80.4)).text
    # sd 0.5, difference 0: with any n, 1.64 x 0.5 = 0.82 is wider than the margin.
    assert "no number of seeds would decide it" in verdict(seeds(80.2, 80.7, 81.2)).text


def test_a_seed_that_diverged_makes_a_cell_unstable(results):
    """Divergence never helps: not the only seed, not one of ten, not by its absence from a mean."""
    lost = examples.record(1.0, seed=9, status="diverged")
    for good in (0, 1, 3, 9):
        made = verdict([*seeds(*[80.7] * good), lost])
        assert made.kind == "unstable" and f"unstable (1 of {good + 1}): seed 9 ended without" in made.text
        assert made.mean is None
    assert verdict(seeds(float("nan"))).kind == "unstable", "finished, without a finite value"
    planned = verdict([*seeds(80.6, 80.7, 80.8), lost], planned=range(10))
    assert planned.kind == "unstable" and "unstable (1 of 10)" in planned.text and not planned.early


def test_before_all_planned_seeds_have_ended_a_verdict_is_an_early_look(results):
    made = verdict(seeds(81.1, 81.2, 81.3), planned=[0, 1, 2, 3])
    assert (made.kind, made.early, made.name) == ("better", True, "early look: better")
    assert made.text.startswith("early look: better") and "3 of 4 planned seeds, to be judged with seed 3" in made.text
    assert not verdict(seeds(81.1, 81.2, 81.3), planned=[0, 1, 2]).early


def test_seeds_outside_the_plan_are_shown_and_not_judged(results):
    made = verdict([*seeds(80.6, 80.7, 80.8), examples.record(70.0, seed=7)], planned=[0, 1, 2])
    assert (made.n, made.kind) == (3, "reproduced")
    assert "not judged, as a later attempt or no planned seed: seed 7 70.00" in made.text


def test_lower_is_better_where_the_metric_says_so(results):
    number = examples.reported(id="T8-001", metric="perplexity", direction="min", value=61.2, dataset="WikiText-2")
    examples.write_facts(results, [number], [])

    def perplexity(*values):
        made = seeds(*values)
        for record in made:
            record["summary"] = {"perplexity": record["summary"]["top1"]}
        return verdict(made, id="T8-001").kind

    assert perplexity(61.8, 61.9, 62.0) == "worse"
    assert perplexity(60.3, 60.4, 60.5) == "better"
    assert perplexity(61.1, 61.2, 61.3) == "reproduced"


def test_states_n_interval_assumptions_and_smallest_detectable_difference(results):
    made = verdict(seeds(80.3))
    assert (made.n, made.mean, made.difference) == (1, 80.3, pytest.approx(-0.4))
    assert (made.interval.low, made.interval.high) == pytest.approx((-1.33613, 0.53613), abs=1e-4)
    assert "n = 1 (seed 0)" in made.text and "[-1.34, +0.54]" in made.text
    assert "one run never reproduces a number" in made.text and "n = 1 detects 1.25 with 80 % power" in made.text
    paper, margin, source = made.assumptions
    assert "reported number is one run" in paper
    # 0.5 / 0.208 = 2.40 sd; 2 x Phi(2.404 - 1.645) - 1 = 0.552
    assert "the margin is 0.5" in margin and "2.4 sd of a run, which at most 55 % of true reproductions" in margin
    assert "twice the sd 0.104" in source and "Goyal et al." in source and "vit_small with adan" in source


def test_several_seeds_use_their_own_spread(results):
    made = verdict(seeds(80.2, 80.3, 80.4))
    assert made.interval.high - made.interval.low == pytest.approx(2 * 0.49683, abs=1e-4)
    assert "of our own 3 seeds: sd 0.1" in made.assumptions[-1] and "n = 3 (seeds 0, 1, 2)" in made.text


def test_a_number_that_is_a_mean_of_runs_has_a_smaller_error(results):
    examples.write_facts(results, [examples.reported(runs=4)], [examples.spread()])
    made = verdict(seeds(80.2, 80.3, 80.4))
    # 4.30265 x 0.1 x sqrt(1/3 + 1/4) = 0.32862
    assert made.interval.high == pytest.approx(-0.4 + 0.32862, abs=1e-4) and made.kind == "worse"
    assert "the mean of 4 runs" in made.assumptions[0]


def test_the_spread_of_the_very_model_goes_before_that_of_another(results):
    own = examples.spread(model="ViT-S", sd=0.05, source="the authors")
    examples.write_facts(results, [examples.reported()], [examples.spread(), own])
    assert "the sd 0.05 that the authors" in verdict(seeds(80.3)).assumptions[-1]
    assert load_sourced("top1", "ImageNet-1k", "ViT-B").sd == 0.104


def test_the_spread_of_two_seeds_is_pooled_or_their_own_where_that_is_larger():
    sourced = load_sourced("top1", "ImageNet-1k")
    near, far = spread_of([80.6, 80.7], sourced), spread_of([78.0, 80.0], sourced)
    assert (near.sd, near.degrees_of_freedom) == (pytest.approx(((0.005 + 3 * 0.208**2) / 4) ** 0.5), 3)
    assert (far.sd, far.degrees_of_freedom) == (pytest.approx(2**0.5), 3)
    assert spread_of([1.0, 2.0], None).degrees_of_freedom == 1 and spread_of([1.0], None) is None


def test_one_run_without_a_sourced_spread_is_inconclusive(results):
    examples.write_facts(results, [examples.reported()], [examples.spread(dataset="CIFAR-10")])
    made = verdict(seeds(70.0))
    assert made.kind == "inconclusive" and "no sourced spread of top1 on ImageNet-1k" in made.text
    assert made.interval is None and made.difference == pytest.approx(-10.7)


def test_equal_seeds_claim_no_certainty(results):
    """Two runs with the very same result have a sample sd of zero; the sourced spread is used instead."""
    made = verdict(seeds(80.5, 80.5))
    assert made.kind == "inconclusive" and "Goyal" in made.assumptions[-1]
    # sd 0.208 x sqrt(3/4) = 0.18013; 3.18245 x 0.18013 x sqrt(1/2 + 1) = 0.70211
    assert made.interval.high == pytest.approx(-0.2 + 0.70211, abs=1e-4)


@pytest.mark.parametrize("values", [[70.0], [79.0, 79.1, 79.2]])
def test_settings_of_ours_are_never_worse(results, values):
    made = verdict(seeds(*values, config={"provenance": examples.OURS}))
    assert made.kind == "not reproduced with our settings"
    assert "settings of ours, not the authors': optim.lr" in made.text


def test_settings_of_ours_that_surpass_the_paper_are_better(results):
    made = verdict(seeds(85.0, config={"provenance": examples.OURS}))
    assert made.kind == "better" and "settings of ours, not the authors': optim.lr" in made.text


def test_settings_of_ours_are_never_worse_whatever_the_draw(results):
    draw, kinds = random.Random(0), set()
    for _ in range(200):
        values = [draw.gauss(80.7, draw.choice([0.2, 1.5])) for _ in range(draw.choice([1, 2, 3, 5]))]
        kinds.add(verdict(seeds(*values, config={"provenance": examples.OURS})).kind)
    assert kinds == {"reproduced", "better", "not reproduced with our settings", "inconclusive"}


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
        ({"config_digest": examples.OLD}, "the recipe has changed since the run"),
        ({"summary": {"top1": {"last": None, "best": None, "reported": "last"}}}, "no finite top1"),
    ],
)
def test_what_is_not_the_recipe_is_not_comparable(results, changes, reason):
    made = verdict(seeds(80.7, **changes))
    assert made.kind == "not comparable" and reason in made.text and made.mean is None


def test_choosing_the_paper_s_own_data_set_changes_nothing(results):
    assert verdict(seeds(80.6, 80.7, 80.8, overrides=["data=imagenet"])).kind == "reproduced"


def test_runs_that_do_not_count_do_not_dilute_those_that_do(results):
    others = [
        examples.record(10.0, seed=7, overrides=["optim.lr=9"]),
        examples.record(20.0, seed=8, scale="mini"),
        examples.record(30.0, seed=9, status="partial"),
    ]
    made = verdict([*others, *seeds(80.6, 80.7, 80.8)])
    assert (made.kind, made.n, made.mean) == ("reproduced", 3, pytest.approx(80.7))


def test_without_runs_and_without_a_number(results):
    assert verdict([]).kind == "not run"
    assert judge(seeds(80.0), CELL, None).kind == "not comparable"


def test_the_first_attempt_of_a_seed_counts_and_later_ones_are_shown(results):
    """Drawing a seed again until it pleases changes nothing."""
    first = examples.record(70.0)
    second = examples.record(80.6) | {"run": first["run"] + "-attempt2"}
    tenth = examples.record(80.7) | {"run": first["run"] + "-attempt10"}
    made = verdict([tenth, first, second])
    assert (made.n, made.mean, made.runs) == (1, 70.0, (first["run"],))
    assert (
        "not judged, as a later attempt or no planned seed: seed 0-attempt10 80.70, seed 0-attempt2 80.60" in made.text
    )
    unfinished = examples.record(70.0, status="partial")
    assert verdict([unfinished, second]).kind == "not comparable", "the first attempt is to be finished, not left"


def test_seeds_of_a_recipe_that_changed_since_are_set_aside_however_many(results):
    old = [examples.record(60.0, seed=seed, config_digest=examples.OLD) for seed in range(10)]
    made = verdict([*old, *seeds(80.6, 80.7, 80.8)])
    assert (made.n, made.kind) == (3, "reproduced")


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


def test_a_number_that_does_not_exist_names_the_nearest(results):
    with pytest.raises(UserError, match=r"t4\.yaml.*'T4-04'.*did you mean 'T4-004'"):
        find_reported(load_reported(), "T4-04", "configs/table/t4.yaml")


def test_a_number_stated_twice_is_refused(results):
    examples.write_facts(results, [examples.reported(), examples.reported(value=81.0)], [])
    with pytest.raises(UserError, match=r"T4-004.*twice"):
        load_reported()


def test_the_repository_s_spread_is_what_its_source_says():
    spread = load_sourced("top1", "ImageNet-1k")
    assert spread.sd == pytest.approx(((0.10**2 + 0.12**2 + 0.09**2) / 3) ** 0.5, abs=5e-4)
    assert spread.degrees_of_freedom == 3 * (5 - 1) and "1706.02677" in spread.source
    assert load_sourced("top1", "CIFAR-10") is None
    assert load_sourced("top1", "ImageNet-1k", "MAE-ViT-L").sd == 0.07


@pytest.mark.parametrize(("micro_batch", "kind"), [(256, "better"), (32, "not comparable")])
def test_batch_norm_over_another_micro_batch_is_not_the_recipe(results, micro_batch, kind):
    split = {"ranks": 8, "micro_batch": micro_batch, "batch_norm": True}
    assert verdict(seeds(85.0, split=split, config={"batch_per_device": 256})).kind == kind
    assert verdict(seeds(85.0, split=split | {"batch_norm": False}, config={"batch_per_device": 256})).kind == "better"


def read(name):
    return {"name": "imagenet", "source": "an image folder", "digest": name * 64, "digest_covers": "contents of files"}


def test_seeds_on_other_data_are_named_and_not_judged(results):
    other = examples.record(50.18, seed=3, data=read("b"))
    made = verdict([other, *seeds(80.6, 80.7, 80.8, data=read("a"))])
    assert (made.n, made.kind, made.mean) == (3, "reproduced", pytest.approx(80.7))
    assert "not judged, because of other data: seed 3, which read an image folder (digest bbbb" in made.text
