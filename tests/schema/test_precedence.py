"""Which layer's value a configuration has."""

from __future__ import annotations

import pytest

from experiments.schema.compose import resolve
from experiments.schema.errors import UserError


def _set(section: dict, level: int) -> None:
    section.setdefault("evaluation", {})["batch_size"] = level


def _layers(experiment: dict) -> list[dict]:
    """The sections of the file that can set a value, lowest first."""
    recipe = experiment["recipes"]["long"]
    adan, mini = recipe["optimizers"]["adan"], experiment["mini"]
    adan["budgets"] = {300: {}}
    mini["settings"] = {}
    mini["optimizers"] = {"adan": {"settings": {}}}
    mini["recipes"] = {"long": {"settings": {}, "optimizers": {"adan": {"settings": {}}}}}
    return [
        experiment["settings"],
        recipe["settings"],
        adan["settings"],
        recipe["budgets"][300],
        adan["budgets"][300],
        mini["settings"],
        mini["optimizers"]["adan"]["settings"],
        mini["recipes"]["long"]["settings"],
        mini["recipes"]["long"]["optimizers"]["adan"]["settings"],
    ]


@pytest.mark.parametrize("highest", range(9))
def test_the_highest_layer_that_sets_a_value_decides(configs, highest):
    for level, section in enumerate(_layers(configs.experiment)[: highest + 1]):
        _set(section, level + 1)
    config = resolve({"exp": "model", "optim": "adan"}, {}, configs.write())
    assert config.evaluation.batch_size == highest + 1


def test_the_command_line_is_above_every_layer(configs):
    for level, section in enumerate(_layers(configs.experiment)):
        _set(section, level + 1)
    config = resolve({"exp": "model"}, {"evaluation.batch_size": 77}, configs.write())
    assert config.evaluation.batch_size == 77
    assert config.provenance["evaluation.batch_size"]["level"] == "command_line"


def test_the_mini_layers_do_not_touch_paper_scale(configs):
    layers = _layers(configs.experiment)
    _set(layers[1], 5)
    _set(layers[5], 6)
    assert resolve({"exp": "model", "scale": "paper"}, {}, configs.write()).evaluation.batch_size == 5


def test_an_optimizer_file_lies_under_the_experiments_settings_for_it(configs):
    config = resolve({"exp": "model", "optim": "adan"}, {}, configs.write())
    assert config.optim == {
        "name": "adan",
        "lr": 0.01,
        "betas": [0.98, 0.92, 0.99],
        "weight_decay": 0.0,
        "no_prox": False,
    }


def test_an_optimizer_that_the_recipe_does_not_name_runs_with_its_defaults_marked_ours(configs):
    config = resolve({"exp": "model", "optim": "sgd"}, {}, configs.write())
    assert config.optim == {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    assert config.provenance["optim.lr"]["level"] == "ours"


def test_provenance_names_the_narrowest_source(configs):
    adan = configs.experiment["recipes"]["long"]["optimizers"]["adan"]
    adan["budgets"] = {
        150: {
            "optim": {"weight_decay": 0.02},
            "provenance": {"default": {"level": "released_log", "source": "log.csv"}},
        }
    }
    choices = {"exp": "model", "scale": "paper"}
    config = resolve(choices | {"epochs": 150}, {}, configs.write())
    levels = {key: fact["level"] for key, fact in config.provenance.items()}
    assert levels["optim.lr"] == "readme"
    assert levels["optim.weight_decay"] == "released_log"
    assert levels["batch_per_device"] == "inferred"
    assert levels["schedule.warmup_epochs"] == "inferred"
    assert config.disagreements == ["README and arguments differ"]
    assert "optim.weight_decay" not in resolve(choices | {"epochs": 300}, {}, configs.path).provenance


@pytest.mark.parametrize("released", ["released_arguments", "released_log"])
@pytest.mark.parametrize(
    ("optimizer", "own", "inherits"),
    [
        ("adan", "released_arguments", False),
        ("adan", "released_log", False),
        ("adan", "readme", True),
        ("sgd", None, True),
    ],
)
def test_what_was_released_of_adan_is_only_inferred_for_others(configs, released, optimizer, own, inherits):
    """Of the recipe's facts in all four places: the experiment's, the recipe's, its budget's, and for one key."""
    fact = {"level": released, "source": "args.yaml"}
    experiment, recipe = configs.experiment, configs.experiment["recipes"]["long"]
    experiment["provenance"] = {"default": fact, "evaluation.crop_pct": fact}
    experiment["settings"]["evaluation"] = {"crop_pct": 0.9}
    recipe["provenance"] = fact
    recipe["budgets"][300] = {"loss": {"label_smoothing": 0.1}, "provenance": fact}
    if own is not None:
        recipe["optimizers"][optimizer]["provenance"]["default"]["level"] = own
    provenance = resolve({"exp": "model", "optim": optimizer, "scale": "paper"}, {}, configs.write()).provenance
    inferred = {"level": "inferred", "source": "as in the released Adan runs: args.yaml"}
    for key in ("model.name", "evaluation.crop_pct", "batch_per_device", "loss.label_smoothing", "lr_scaling"):
        assert provenance[key] == (inferred if inherits else fact), key
    assert provenance["optim.lr"]["level"] == (own or "ours")


@pytest.mark.parametrize("level", ["readme", "cited", "ours"])
def test_other_facts_of_a_recipe_hold_for_every_optimizer(configs, level):
    configs.experiment["recipes"]["long"]["provenance"] = fact = {"level": level, "source": "a page"}
    for optimizer in ("adan", "sgd"):
        choices = {"exp": "model", "optim": optimizer, "scale": "paper"}
        assert resolve(choices, {}, configs.write()).provenance["batch_per_device"] == fact


def test_mini_values_are_ours(configs):
    provenance = resolve({"exp": "model"}, {}, configs.write()).provenance
    assert provenance["schedule.epochs"]["level"] == provenance["global_batch_size"]["level"] == "ours"
    assert provenance["optim.lr"]["level"] == "readme"


def test_mini_multiplies_budget_and_batch_and_keeps_their_nominal_meaning(configs):
    config = resolve({"exp": "model"}, {}, configs.write())
    assert (config.epochs, config.batch_size) == (300, 1024)
    assert (config.schedule.epochs, config.schedule.warmup_epochs, config.schedule.cooldown_epochs) == (20, 4, 1)
    assert (config.global_batch_size, config.batch_per_device) == (8, 8)
    assert config.scale_factors == {"epochs": 1 / 15, "batch_size": 1 / 128}
    half = resolve({"exp": "model", "epochs": 150, "batch_size": 4096}, {}, configs.path)
    assert (half.epochs, half.batch_size) == (150, 4096)
    assert (half.schedule.epochs, half.global_batch_size) == (10, 32)


def test_shrunk_milestones_stay_increasing_and_inside_the_budget(configs):
    config = resolve({"exp": "model", "recipe": "steps"}, {}, configs.write())
    assert config.schedule.epochs == 6
    assert config.schedule.milestones == [2, 4, 5]


def test_an_optimizer_can_have_factors_of_its_own(configs):
    configs.experiment["mini"]["optimizers"] = {"adan": {"factors": {"batch_size": "1/64"}}}
    configs.write()
    assert resolve({"exp": "model", "optim": "adan"}, {}, configs.path).global_batch_size == 16
    assert resolve({"exp": "model", "optim": "sgd"}, {}, configs.path).global_batch_size == 8


def test_paper_scale_runs_the_nominal_numbers(configs):
    config = resolve({"exp": "model", "scale": "paper"}, {}, configs.write())
    assert (config.schedule.epochs, config.global_batch_size, config.batch_per_device) == (300, 1024, 256)
    assert config.total_epochs == 310
    assert config.curve == "shapes_300"
    assert resolve({"exp": "model"}, {}, configs.path).curve is None


@pytest.mark.parametrize(("rule", "factor"), [("sqrt", 2.0), ("linear", 4.0), ("none", 1.0)])
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_another_batch_size_scales_the_rate_by_the_rule(configs, rule, factor, scale):
    choices = {"exp": "model", "scale": scale, "batch_size": 4096, "lr_scaling": rule}
    config = resolve(choices, {}, configs.write())
    assert config.optim["lr"] == pytest.approx(0.01 * factor, rel=1e-12)
    assert config.schedule.min_lr == 0.0


@pytest.mark.parametrize(("rule", "exponent"), [("sqrt", 0.5), ("linear", 1.0), ("none", 0.0)])
def test_a_scale_moves_the_rate_with_its_batch_where_it_says_so(configs, rule, exponent):
    configs.experiment["mini"]["lr_scaling"] = rule
    config = resolve({"exp": "model"}, {}, configs.write())
    assert config.optim["lr"] == pytest.approx(0.01 / 128**exponent, rel=1e-12)
    if rule != "none":
        fact = config.provenance["optim.lr"]
        source = f"configs/exp/model.yaml: mini: the recipe's 0.01 for 1/128 of its batch, by rule {rule}"
        assert fact == {"level": "ours", "source": source}
    larger = resolve({"exp": "model", "batch_size": 4096}, {}, configs.path)
    assert larger.optim["lr"] == pytest.approx(2 * config.optim["lr"], rel=1e-12)  # then by the recipe's own rule
    assert resolve({"exp": "model", "scale": "paper"}, {}, configs.path).optim["lr"] == 0.01


@pytest.mark.parametrize(("settings", "lr"), [({}, 0.01 / 128), ({"optim": {"lr": 0.5}}, 0.5)])
def test_a_scale_has_rules_of_single_optimizers_and_rates_that_need_none(configs, settings, lr):
    own = {"adan": {"lr_scaling": "linear", "settings": settings}}
    configs.experiment["mini"] |= {"lr_scaling": "sqrt", "optimizers": own}
    assert resolve({"exp": "model"}, {}, configs.write()).optim["lr"] == pytest.approx(lr)


def test_a_rule_of_a_scale_that_does_not_exist_names_its_place_and_the_nearest(configs):
    configs.experiment["mini"]["lr_scaling"] = "square"
    with pytest.raises(UserError, match=r"lr_scaling=square \(configs/exp/model.yaml: mini\): no such rule.*sqrt"):
        resolve({"exp": "model"}, {}, configs.write())


def test_a_scale_that_an_experiment_does_not_have_is_refused_with_those_that_it_has(configs):
    expected = r"no section 'small': exp=model has scale=paper and scale=mini; scale=small is there for no experiment"
    with pytest.raises(UserError, match=expected):
        resolve({"exp": "model", "scale": "small"}, {}, configs.write())


def test_a_given_rate_is_not_scaled(configs):
    config = resolve({"exp": "model", "batch_size": 4096}, {"optim.lr": 0.5}, configs.write())
    assert config.optim["lr"] == 0.5


def test_the_rate_scales_from_the_budgets_own_batch_size(configs):
    budgets = {300: {"batch_size": 2048, "optim": {"lr": 0.03}}}
    configs.experiment["recipes"]["long"]["optimizers"]["adan"]["budgets"] = budgets
    choices = {"exp": "model", "scale": "paper"}
    assert resolve(choices, {}, configs.write()).optim["lr"] == 0.03
    assert resolve(choices | {"batch_size": 8192}, {}, configs.path).optim["lr"] == pytest.approx(0.06)


def test_a_chosen_data_set_replaces_the_experiments_with_all_its_settings(configs):
    configs.experiment["settings"]["data"] = {"mean": [0.1], "image_size": 99}
    configs.experiment["mini"]["settings"] = {"data": {"image_size": 14}}
    configs.write()
    paper = resolve({"exp": "model", "scale": "paper"}, {}, configs.path)
    assert (paper.data.name, paper.data.image_size, paper.data.mean) == ("shapes", 99, [0.1])
    mini = resolve({"exp": "model"}, {}, configs.path)
    assert (mini.data.name, mini.data.image_size, mini.data.channels) == ("dots", 14, 1)
    assert mini.data.mean != [0.1]
    chosen = resolve({"exp": "model", "data": "lines"}, {}, configs.path)
    assert (chosen.data.name, chosen.data.train_size, chosen.data.image_size) == ("lines", 640, 224)
    assert chosen.overrides == ["data=lines"]


def test_overrides_lists_what_makes_it_another_recipe_and_nothing_else(configs):
    values = {
        "optim.lr": 0.01,
        "evaluation.every": 5,
        "seed": 3,
        "launch.devices": 2,
        "stop_at": "3",
        "data.root": "/x",
    }
    config = resolve({"exp": "model", "epochs": 150, "batch_size": 1024}, values, configs.write())
    assert config.overrides == ["evaluation.every=5"]
    assert config.provenance["optim.lr"]["level"] == "readme"
    assert resolve({"exp": "model", "batch_size": 512}, {}, configs.path).overrides == ["batch_size=512"]


def test_a_rate_or_a_rule_that_the_recipe_would_not_use_at_that_batch_is_an_override(configs):
    configs.write()
    (configs.path / "table" / "t9.yaml").write_text(
        "{title: T, metric: top1, rows: optim, columns: [batch_size], "
        "cells: [{exp: model, optim: adan, epochs: 300, recipe: long, batch_size: 4096, reported: T9-1}]}"
    )
    choices = {"exp": "model", "batch_size": 4096}
    assert resolve(choices, {"optim.lr": 0.01}, configs.path).overrides == ["optim.lr=0.01"]
    assert resolve(choices, {"optim.lr": 0.02}, configs.path).overrides == []
    assert resolve(choices | {"lr_scaling": "linear"}, {}, configs.path).overrides == ["lr_scaling=linear"]


def test_a_batch_size_of_a_table_is_part_of_the_recipe(configs):
    (configs.path / "table" / "t9.yaml").write_text(
        "{title: T, metric: top1, rows: optim, columns: [batch_size], "
        "cells: [{exp: model, optim: adan, epochs: 300, recipe: long, batch_size: 512, reported: T9-1}]}"
    )
    assert resolve({"exp": "model", "batch_size": 512}, {}, configs.write()).overrides == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["recipes"]["long"].update(budget={}), "configs/exp/model.yaml: recipes.long.*'budgets'"),
        (lambda tree: tree["settings"].update(sheduel={"epochs": 3}), r"sheduel.epochs .*model.yaml.*schedule.epochs"),
        (lambda tree: tree["settings"].update(seed="many"), "seed=many .*model.yaml.*integer"),
        (lambda tree: tree["recipes"]["long"]["optimizers"]["adan"]["settings"].update(optim={"mu": 1}), "optim.mu"),
        (lambda tree: tree.pop("task"), "'task' is missing"),
        (lambda tree: tree["mini"].update(factors={"epochs": "one"}), "fractions"),
        (lambda tree: tree["settings"].update(model={"_target_": "os.system"}), "_target_"),
        (lambda tree: tree.update(title="${oc.env:HOME}"), "oc.env"),
    ],
)
def test_a_mistake_in_an_experiments_file_names_the_file(configs, change, message):
    change(configs.experiment)
    with pytest.raises(UserError, match=message):
        resolve({"exp": "model"}, {}, configs.write())
