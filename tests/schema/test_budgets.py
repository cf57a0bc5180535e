"""Budgets that count updates: the same choices, factors, schedule and end as budgets that count epochs."""

from __future__ import annotations

import json

import pytest

from experiments.launch import local, plan
from experiments.optimizers.schedules import rate_of_update
from experiments.schema.budget import Budget, budget_of, stop_of
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.epochs import Epochs, of_run, total_updates
from experiments.schema.errors import UserError
from experiments.schema.typed import from_dict, to_dict


@pytest.fixture
def compose_one(configs):
    """Compose the experiment `model`, whose recipe `long` counts updates: 500 or 2,000, evaluated every 400."""
    long = configs.experiment["recipes"]["long"]
    del long["epochs"]
    long["updates"] = 500
    long["budgets"] = {500: {}, 2000: {"schedule": {"warmup_updates": 300}}}
    long["settings"] = {"schedule": {"warmup_updates": 100}, "evaluation": {"every": 400}, "checkpoint": {"every": 150}}
    long["optimizers"]["adan"]["curves"] = {2000: "shapes_2000"}
    configs.experiment["mini"]["factors"] = {"updates": "1/10", "batch_size": "1/128"}
    configs.experiment["mini"]["settings"] = {"evaluation": {"every": 20}}
    folder = configs.write()
    return lambda *arguments: compose(["exp=model", *arguments], folder)[0]


def test_a_budget_in_updates_decides_length_schedule_and_curve(compose_one):
    default, longer = compose_one("scale=paper"), compose_one("scale=paper", "updates=2000")
    assert (default.updates, total_updates(default), default.schedule.warmup) == (500, 500, 100)
    assert (longer.updates, total_updates(longer), longer.schedule.warmup) == (2000, 2000, 300)
    assert (default.curve, longer.curve) == (None, "shapes_2000")
    assert config_digest(default) != config_digest(longer)
    assert longer.provenance["updates"]["level"] == "inferred"
    for config in (default, longer):
        check(config)
        assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_stretches_between_evaluations_stand_for_epochs(compose_one):
    config = compose_one("scale=paper", "updates=2000")
    assert of_run(config) == Epochs.equal(400, 5) and config.total_epochs == 5
    shorter = compose_one("scale=paper")
    assert of_run(shorter).updates == (400, 100) and shorter.total_epochs == 2
    assert Epochs.from_event(of_run(shorter).for_event, 500) == of_run(shorter)


def test_the_scale_multiplies_budget_and_warm_up(compose_one):
    config = compose_one("updates=2000")
    assert (config.updates, config.schedule.updates, config.schedule.warmup_updates) == (2000, 200, 30)
    assert total_updates(config) == 200 and config.scale_factors["updates"] == 0.1


def test_the_rate_counts_updates(compose_one):
    config = compose_one("scale=paper", "schedule.name=linear", "schedule.warmup_updates=0", "optim.lr=1.0")
    rates = [rate_of_update(config, of_run(config), update) for update in (1, 251, 500)]
    assert rates == [1.0, 0.5, 1 - 499 / 500]
    cosine = compose_one("scale=paper", "optim.lr=1.0")
    assert rate_of_update(cosine, of_run(cosine), 51) == 0.5  # half the warm-up is done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["epochs=300"], "epochs=300 .command line.: model counts updates; use updates=, one of 500, 2000"),
        (["updates=600"], "has no such budget; choose from: 500, 2000; did you mean 500"),
        (["recipe=steps", "updates=5"], "updates=5 .command line.: model counts epochs; use epochs=, one of 90"),
    ],
)
def test_a_budget_that_the_recipe_has_not_is_refused(compose_one, arguments, message):
    with pytest.raises(UserError, match=message):
        compose_one(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["schedule.warmup_epochs=3"], "schedule.warmup_epochs=3.*counts updates; did you mean schedule.warmup_upd"),
        (["schedule.warmup_updates=900"], "schedule.warmup_updates=900.*longer than all 500 updates"),
        (["recipe=steps", "schedule.updates=50"], "schedule.updates=50.*counts epochs; did you mean schedule.epochs"),
        (["stop_at=3epochs"], "this run counts updates, not epochs; write 500 or 500updates"),
        (["stop_at=500"], "stop_at=500.*ends by itself after 500 updates; choose an earlier point"),
    ],
)
def test_what_does_not_fit_the_unit_is_refused(compose_one, arguments, message):
    with pytest.raises(UserError, match=message):
        check(compose_one("scale=paper", *arguments))


def test_stop_at_counts_updates(compose_one):
    for text in ("7", "7updates"):
        assert stop_of(compose_one("scale=paper", f"stop_at={text}")) == 7


def test_a_recipe_names_one_budget_in_one_unit(configs):
    configs.experiment["recipes"]["long"]["updates"] = 500
    with pytest.raises(UserError, match="needs a default budget in epochs or updates, and in one"):
        compose(["exp=model"], configs.write())


def test_titles_plans_and_records_name_the_unit(compose_one):
    config = compose_one("scale=paper", "updates=2000")
    assert "recipe long, 2,000 updates, batch 1024" in local.title(config)
    assert budget_of(to_dict(config)) == Budget(2000, "updates")
    made = plan.Plan(config, {"weight": (2, 3)}, {"weight": (2, 3)}, of_run(config), 256, 4, None).as_dict()
    assert (made["nominal_updates"], made["total_updates"], made["total_samples"]) == (2000, 2000, 2000 * 1024)
    assert len(made["lr_per_epoch"]) == 5 and "nominal_epochs" not in made
