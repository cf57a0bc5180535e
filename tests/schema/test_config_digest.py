"""A configuration's tree, its JSON, and the digest that names a run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.schema import names
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import NOT_IDENTITY, config_digest
from experiments.schema.errors import UserError
from experiments.schema.typed import from_dict, get, to_dict

EXPERIMENTS, OPTIMIZERS = names.choices("exp"), names.choices("optim")


@settings(max_examples=40, deadline=None)
@given(
    exp=st.sampled_from(EXPERIMENTS),
    optim=st.sampled_from(OPTIMIZERS),
    scale=st.sampled_from(["mini", "paper"]),
    rate=st.floats(1e-9, 10.0),
    seed=st.integers(0, 2**63 - 1),
    batch=st.sampled_from([256, 512, 4096, 32768]),
)
def test_every_configuration_survives_json_with_the_same_digest(exp, optim, scale, rate, seed, batch):
    if exp.startswith("ppo"):  # a rollout has 2,048 samples
        batch = min(batch, 2048)
    arguments = [f"exp={exp}", f"optim={optim}", f"scale={scale}", f"seed={seed}", f"batch_size={batch}"]
    [config] = compose([*arguments, f"optim.lr={rate!r}"])
    check(config)
    text = json.dumps(to_dict(config), allow_nan=False)
    again = from_dict(json.loads(text))
    assert again == config
    assert config_digest(again) == config_digest(config) == config_digest(json.loads(text))
    assert again.optim["lr"] == rate


@pytest.mark.parametrize(
    "argument",
    [
        "launch.devices=2",
        "launch.micro_batch=4",
        "launch.threads=1",
        "launch=plan",
        "track=wandb",
        "data.root=/x",
        "data.workers=3",
        "seed=9",
        "stop_at=2",
        "force=true",
        "checkpoint.every=5",
    ],
)
def test_how_and_where_a_run_happens_does_not_rename_it(argument):
    [plain], [other] = compose(["exp=vit_small"]), compose(["exp=vit_small", argument])
    assert to_dict(plain) != to_dict(other)
    assert config_digest(plain) == config_digest(other)


@pytest.mark.parametrize(
    "argument",
    [
        "optim.lr=0.0123",
        "optim=adamw",
        "epochs=150",
        "batch_size=1024",
        "scale=paper",
        "precision=bf16",
        "data=digits",
        "batch_per_device=8",
        "evaluation.every=2",
        "model.drop_path=0.3",
        "drop_last=false",
    ],
)
def test_what_changes_numbers_renames_a_run(argument):
    [plain], [other] = compose(["exp=vit_small"]), compose(["exp=vit_small", argument])
    assert config_digest(plain) != config_digest(other)


def test_an_override_that_repeats_the_recipe_is_the_same_run():
    [plain] = compose(["exp=vit_small"])
    [same] = compose(["exp=vit_small", f"optim.lr={plain.optim['lr']}", "epochs=300", "batch_size=2048"])
    assert config_digest(plain) == config_digest(same)


def test_every_field_outside_the_identity_exists():
    tree = to_dict(compose(["exp=vit_small"])[0])
    for key in NOT_IDENTITY:
        section, _, name = key.rpartition(".")
        assert name in (get(tree, section) if section else tree)


def test_a_tree_with_an_unknown_key_or_a_wrong_type_is_refused():
    tree = to_dict(compose(["exp=vit_small"])[0])
    with pytest.raises(UserError, match=r"schedule.epoch .config.json.*'schedule.epochs'"):
        from_dict({**tree, "schedule": {**tree["schedule"], "epoch": 3}})
    with pytest.raises(UserError, match=r"seed=many \(config.json\): expected an integer"):
        from_dict({**tree, "seed": "many"})
