"""A tuning is what its file declares: the trials that it asks for, what is judged, and what may stand beside it."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from experiments.launch.configurations import configurations
from experiments.optimizers.schedules import rates
from experiments.record.seal import choices
from experiments.schema.check import check
from experiments.schema.config import RunConfig
from experiments.schema.digest import config_digest, identity
from experiments.schema.errors import UserError
from experiments.schema.overrides import parse
from experiments.schema.resolve import resolve
from experiments.schema.spaces import space_of
from experiments.schema.tables import load_table
from experiments.schema.tunings import candidates, load_tuning, quasi_random, tuning_names
from experiments.schema.typed import to_dict
from experiments.verdict.today import is_of_today

GRIDS = [name for name in tuning_names() if load_tuning(name).grids]
EQUAL = load_tuning("equal")


def trials(*arguments: str) -> list[RunConfig]:
    return configurations([point for one in candidates(parse(list(arguments))) for point in one.trials()])


@pytest.mark.parametrize("scale", ["paper", "mini"])
@pytest.mark.parametrize("name", GRIDS)
def test_every_trial_of_a_grid_composes_and_passes_all_checks(name, scale):
    tuning = load_tuning(name)
    configs = trials(f"tune={name}", f"scale={scale}")
    assert len(configs) == len(tuning.exps) * sum(len(tuning.combinations(optim)) for optim in tuning.grids)
    for config in configs:
        assert (config.seed, config.recipe) == (tuning.seed, tuning.recipe)
        assert config.stop_at == (f"{tuning.epochs}epochs" if scale == "paper" and tuning.epochs else None)
        assert tuning.metric.startswith("val_") and tuning.metric in config.metrics


def test_a_trial_of_a_grid_is_the_recipe_but_for_the_settings_of_the_grid():
    lrs, decays = (1e-3, 3e-3, 1e-2), (1.2e-6, 0.02)
    configs = trials("tune=ptb_lstm", "exp=ptb_lstm_2", "optim=adan", "scale=paper", "launch.threads=1")
    assert [(c.optim["lr"], c.optim["weight_decay"]) for c in configs] == list(itertools.product(lrs, decays))
    for config in configs:
        assert {text.partition("=")[0] for text in config.overrides} <= {"optim.lr", "optim.weight_decay"}
        assert config.launch.threads == 1


@pytest.mark.parametrize(("name", "table"), [("ptb_lstm", "t8"), ("cifar10", "cifar10")])
def test_a_grid_is_tried_on_a_seed_that_no_cell_is_judged_on(name, table):
    assert load_tuning(name).seed not in {0, *load_table(table).seeds}


def test_sobol_points_fill_every_dimension_evenly_and_are_the_same_for_everybody():
    points = quasi_random(8, 2)
    assert points[:3] == [(0.0625, 0.0625), (0.5625, 0.5625), (0.8125, 0.3125)]
    for dimension in (0, 1):
        assert sorted(point[dimension] for point in points) == [(2 * k + 1) / 16 for k in range(8)]
    quarters = {(x // 0.25, y // 0.5) for x, y in points}
    assert len(quarters) == 8  # a net: each of the 8 boxes of 1/4 x 1/2 holds one


def test_equal_tuning_gives_every_optimizer_the_same_trials_at_full_length_on_a_validation_split():
    found = candidates(parse(["tune=equal", "exp=vit_small", "optim=adan,adamw,sgd,lamb"]))
    assert [one.optim for one in found] == ["adan", "adamw", "sgd", "lamb"]
    for one in found:
        own = configurations(one.trials())
        assert len(own) == 8 and {config.seed for config in own} == {100}
        space = space_of(one.optim, "image_classification").ranges
        for key, limits in space.items():
            values = [config.optim[key] for config in own]
            steps = [math.log(b / a) for a, b in itertools.pairwise(sorted(values))]
            assert limits.low < min(values) and max(values) < limits.high
            assert steps == pytest.approx([math.log(limits.high / limits.low) / 8] * 7, rel=0.02)  # rounded to 3 digits
        assert {config.data.validation_size for config in own} == {400}
        assert {config.total_epochs for config in own} == {one.config.total_epochs}


def without_optimizer(config: RunConfig) -> dict:
    left_out = ("optim", "scale_factors")  # by which factor a scale made the batch, which is the same
    return {key: value for key, value in identity(to_dict(config)).items() if key not in left_out}


@pytest.mark.parametrize("exp", ["vit_small", "resnet18", "ptb_lstm_1", "swin_tiny", "resnet50"])
def test_optimizers_under_equal_tuning_differ_in_nothing_but_the_optimizer(exp):
    adan, *others = candidates(parse(["tune=equal", f"exp={exp}", "optim=adan,adamw,sgd,lamb,lion"]))
    assert adan.values == {}
    for one in others:
        config = one.config
        assert without_optimizer(config) == without_optimizer(adan.config), one.optim
        assert config.optim["name"] == one.optim
        again = resolve(*of_record(config))
        assert config_digest(again) == config_digest(config)


@pytest.mark.parametrize("exp", ["vit_small", "resnet18", "ptb_lstm_1"])
def test_the_record_of_every_trial_is_one_of_todays_recipe(exp):
    """What a record says of itself composes to the run again, also where a frame changed the batch."""
    for one in candidates(parse(["tune=equal", f"exp={exp}", "optim=adan,adamw,sgd,lamb"])):
        for point in (one.trials()[0], one.fresh(EQUAL.combinations(one.optim, one.config.task)[0], Fraction(1, 2))[0]):
            config = resolve(point.choices, point.values)
            tree = to_dict(config)
            assert is_of_today({**choices(tree), "config_digest": config_digest(tree), "config": tree}), one.optim


def of_record(config: RunConfig) -> tuple[dict, dict]:
    """Choices and values by which a record of `config` says how it was made."""
    keys = ("exp", "recipe", "epochs", "updates", "scale", "batch_size")
    choices = {key: value for key in keys if (value := getattr(config, key)) is not None}
    [point] = parse(config.overrides or ["seed=0"])
    return {**choices, **point.choices, "optim": config.optim["name"]}, point.values


def test_fresh_runs_are_the_chosen_setting_on_all_data_at_the_full_budget_and_half_of_it():
    [one] = candidates(parse(["tune=equal", "exp=vit_small", "optim=lamb"]))
    chosen = {"optim.lr": 0.01, "optim.weight_decay": 0.02}
    full, half = ([resolve(p.choices, p.values) for p in one.fresh(chosen, Fraction(b))] for b in ("1", "1/2"))
    assert [config.seed for config in full] == [config.seed for config in half] == EQUAL.fresh_seeds
    for config in (*full, *half):
        check(config)
        assert config.data.validation_size == 0 and (config.optim["lr"], config.optim["weight_decay"]) == (0.01, 0.02)
    assert (full[0].schedule.epochs, half[0].schedule.epochs) == (20, 10)
    assert (full[0].schedule.warmup_epochs, half[0].schedule.warmup_epochs) == (4, 2)
    assert rates(half[0].schedule, 0.01)[2] == pytest.approx(rates(full[0].schedule, 0.01)[4])


def test_half_of_a_step_schedule_halves_its_milestones():
    [one] = candidates(parse(["tune=equal", "exp=resnet18", "optim=sgd"]))
    half = resolve(*vars(one.fresh({}, Fraction(1, 2))[0]).values())
    assert (one.config.schedule.epochs, one.config.schedule.milestones) == (10, [3, 7])
    assert (half.schedule.epochs, half.schedule.milestones) == (5, [2, 4])


def test_any_experiment_and_optimizer_with_a_space_can_be_tuned_beside_the_plan():
    assert len(trials("tune=equal", "exp=resnet50", "optim=lion")) == 8
    with pytest.raises(UserError, match=r"optim=fromage: configs/optim/fromage.yaml declares no `space`.*adamw"):
        trials("tune=equal", "exp=vit_small", "optim=fromage")
    with pytest.raises(UserError, match=r"exp=bert_glue .command line.: its runs go on from other runs"):
        trials("tune=equal", "exp=bert_glue", "optim=adan")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune=ptb_lstn"], "tune=ptb_lstn .command line.: no such tuning; did you mean 'ptb_lstm'"),
        (["search=ptb_lstm"], "search=ptb_lstm .command line.: search= is tune= now"),
        (["tune=ptb_lstm", "optim=adann"], "optim=adann .command line.: not in tune=ptb_lstm; did you mean 'adan'"),
        (["tune=equal", "optim=adann"], "optim=adann .command line.: no such optimizer; did you mean 'adan'"),
        (["tune=ptb_lstm", "exp=vit_small"], "not in tune=ptb_lstm; choose from: ptb_lstm_1, ptb_lstm_2"),
        (["tune=ptb_lstm", "optim.lr=1"], "optim.lr=1 .command line.: tune=ptb_lstm decides it"),
        (["tune=equal", "optim.weight_decay=1"], "optim.weight_decay=1 .command line.: tune=equal decides it"),
        (["tune=ptb_lstm", "seed=0"], "seed=0 .command line.: tune=ptb_lstm decides it"),
        (["tune=cifar10", "data.validation_fraction=0.2"], "data.validation_fraction=0.2 .* tune=cifar10 decides it"),
        (["tune=ptb_lstm", "table=t8"], "table=t8 .command line.: not beside tune=ptb_lstm"),
        (["tune=ptb_lstm", "epochs=200"], "epochs=200 .command line.: not beside tune=ptb_lstm"),
    ],
)
def test_what_a_tuning_decides_or_has_not_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        trials(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: t\nexps: [e]\nseed: 1\nmetrik: x\n", "a tuning has no key 'metrik'; did you mean 'metric'"),
        ("title: t\n", "a tuning lacks exps, seed"),
        ("title: t\nexps: [e]\nseed: 1\n", "a tuning has either grids or trials"),
        ("title: t\nexps: [e]\nseed: 1\ntrials: 6\n", "trials=6: must be a power of two"),
        ("title: t\nexps: [e]\nseed: 1\ntrials: 8\nfresh_seeds: [1, 2]\n", "seed 1 chooses, and is among the fresh"),
        ("title: t\nexps: [e]\nseed: 1\ntrials: 8\nbudgets: ['2']\n", "each is a part of the recipe's length"),
        ("title: t\nexps: [e]\nseed: 1\ntrials: 8\nvalue: bests\n", "value=bests: no such choice; did you mean 'best'"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(tmp_path, text, message):
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "t.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"configs/tune/t.yaml: .*{message}"):
        load_tuning("t", tmp_path)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{lr: {low: 1, hihg: 2}, source: s}", "space.lr: expected .* did you mean 'high'"),
        ("{lr: {low: 2, high: 1}, source: s}", "space.lr: 2 to 1: both must be positive, and low below high"),
        ("{weight_decay: {low: 1, high: 2}, source: s}", "space: lr is missing"),
        ("{lr: {low: 1, high: 2}}", "space: source is missing"),
    ],
)
def test_a_space_that_is_none_is_refused_by_its_file(tmp_path, space, message):
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "o.yaml").write_text(f"name: o\nlr: 1.0\nspace: {space}\n")
    with pytest.raises(UserError, match=rf"configs/optim/o.yaml: {message}"):
        space_of("o", "image_classification", tmp_path)
