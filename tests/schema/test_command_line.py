"""What one can write on the command line, on the real configurations."""

from __future__ import annotations

import re
import shlex

import pytest

from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.errors import UserError


def one(*arguments: str):
    [config] = compose(list(arguments))
    return config


def test_defaults():
    config = one("exp=vit_small")
    assert (config.optim["name"], config.scale, config.seed) == ("adan", "mini", 0)
    assert (config.launch.name, config.track.name) == ("local", "none")
    assert config.overrides == []


def test_overrides_as_hydra_users_write_them():
    config = one(
        "exp=vit_small",
        "optim=adamw",
        "optim.lr=1e-2",
        "optim.betas=[0.8,0.9]",
        "model.drop_path=0.2",
        "seed=3",
        "data.root=/x",
        "launch=plan",
        "launch.lr_at=[1,100]",
        "launch.devices=2",
        "augmentation.auto_augment=null",
        "+model.arguments.qkv_bias=false",
        "track=wandb",
        "track.mode=offline",
        "force=true",
        "stop_at=2",
    )
    assert config.optim["lr"] == 0.01
    assert config.optim["betas"] == [0.8, 0.9]
    assert config.model.drop_path == 0.2
    assert config.seed == 3
    assert config.data.root == "/x"
    assert (config.launch.name, config.launch.lr_at, config.launch.devices) == ("plan", [1, 100], 2)
    assert config.augmentation.auto_augment is None
    assert config.model.arguments["qkv_bias"] is False
    assert (config.track.name, config.track.mode) == ("wandb", "offline")
    assert config.force is True
    assert config.stop_at == "2"


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_sweeps_are_products(flag):
    configs = compose(["exp=vit_small", flag, "optim=adan,adamw", "seed=range(0,3)", "epochs=choice(150,300)"])
    points = [(config.optim["name"], config.seed, config.epochs) for config in configs]
    assert points == [(name, seed, epochs) for name in ("adan", "adamw") for seed in (0, 1, 2) for epochs in (150, 300)]


def test_a_list_is_a_value_and_not_a_sweep():
    assert len(compose(["exp=vit_small", "-m", "optim.betas=[0.9,0.9,0.9]", "seed=0,1"])) == 2


def test_integers_for_numbers_are_numbers():
    assert isinstance(one("exp=vit_small", "optim.lr=1").optim["lr"], float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optim=adan"], "exp= is missing.*vit_small"),
        (["exp=vit_smal"], "exp=vit_smal .command line.*did you mean 'vit_small'"),
        (["exp=vit_small", "optim=addan"], "optim=addan .command line.*did you mean 'adan'"),
        (["exp=vit_small", "data=imagnet"], "data=imagnet .command line.*did you mean 'imagenet'"),
        (["exp=vit_small", "scale=papr"], "scale=papr .command line.*did you mean 'paper'"),
        (["exp=vit_small", "launch=pln"], "launch=pln .command line.*did you mean 'plan'"),
        (["exp=vit_small", "track=wandbb"], "track=wandbb .command line.*did you mean 'wandb'"),
        (["table=t44"], "table=t44 .command line.*did you mean 't4'"),
        (["exp=vit_small", "recipe=seting_2"], "recipe=seting_2 .command line.*did you mean 'setting_2'"),
        (["exp=vit_small", "epochs=100"], "epochs=100 .command line.*setting_2.*choose from: 150, 300"),
        (["exp=vit_small", "epochs=many"], "epochs=many .command line.*choose from: 150, 300"),
        (
            ["exp=vit_small", "batch_size=2049"],
            "batch_size=2049 .command line.*batch_per_device=256.*did you mean 2048",
        ),
        (["exp=vit_small", "batch_size=0"], "batch_size=0 .command line.*at least 1"),
        (["exp=vit_small", "lr_scaling=square"], "lr_scaling=square .command line.*did you mean 'sqrt'"),
        (["exp=vit_small", "optim.lrr=1"], "optim.lrr .command line.*did you mean 'lr'"),
        (["exp=vit_small", "optim.lr=high"], "optim.lr=high .command line.*a number"),
        (["exp=vit_small", "optim.lr=nan"], "optim.lr=nan .command line.*finite"),
        (["exp=vit_small", "optim.no_prox=1"], "optim.no_prox=1 .command line.*true or false"),
        (["exp=vit_small", "optim.betas=[0.9,0.9]"], "optim.betas=.*a list of 3 numbers"),
        (["exp=vit_small", "seed=1.5"], "seed=1.5 .command line.*an integer"),
        (["exp=vit_small", "schedule.epoch=3"], "schedule.epoch .command line.*did you mean 'schedule.epochs'"),
        (["exp=vit_small", "warmup_epochs=3"], "warmup_epochs .command line.*did you mean 'schedule.warmup_epochs'"),
        (["exp=vit_small", "optm.lr=3"], "optm.lr.*did you mean 'optim"),
        (["exp=vit_small", "tabel=t4"], "tabel=t4.*did you mean 'table'"),
        (["exp=vit_small", "schedule=cosine"], "schedule=cosine.*section.*schedule.name"),
        (["exp=vit_small", "title=x"], "title=x.*cannot be set"),
        (["exp=vit_small", "seed=0,1"], "seed=0,1 .command line.*-m"),
        (["exp=vit_small", "seed=1", "seed=2"], "seed is given twice"),
        (["exp=vit_small", "+seed=1"], "only model.arguments takes new keys"),
        (["exp=vit_small", "+new.key=1"], "new.key .command line"),
        (["exp=vit_small", "~data=mnist"], "nothing can be deleted"),
        (["exp=vit_small", "-m", "optim=glob(ada*)"], "comma list"),
        (["exp=vit_small", "-m", "seed=range(0,0)"], "empty"),
        (["exp=vit_small", "x=[1"], "x .command line.: no such key"),
        (["exp=vit_small", "+model.arguments.x=[1"], "cannot be read"),
        (["vit_small"], "did you mean exp=vit_small"),
        (["exp=vit_small", "--multrun"], "did you mean --multirun"),
        (["exp=vit_small", "hydra.run.dir=/x"], "Hydra's own settings"),
        (["exp=vit_small", "model._target_=os.system"], "no _target_"),
        (["exp=vit_small", "data.root=${oc.env:HOME}"], "interpolations"),
        (["exp=vit_small", "track.project='${oc.env:HOME}'"], "interpolations"),
    ],
)
def test_mistakes_are_answered_with_value_origin_and_nearest_choice(arguments, message):
    with pytest.raises(UserError, match=message):
        compose(arguments)


TEXTS = [
    *(
        "/a=b",
        "/a(1)",
        "/a b",
        "/a[1]",
        "/a{b}",
        "/it's",
        '/a"b',
        "/$HOME/x",
        "/\u00e9\u4e2d",
        "/a\\b",
        "/a;b",
        "/a&b",
        "/a#b",
    ),
    *(
        "/a!b",
        "/a?b*",
        "/a:b",
        "/a+b@c%d",
        "/a|b",
        "/a<b>",
        "/a\nb",
        "/a\udcffb",
        "/~x",
        "/123",
        "/1e3",
        "/null/x",
        "/(",
        "/]'",
    ),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_folder_needs_no_quotes_whatever_its_name(text):
    assert one("exp=vit_small", f"data.root={text}").data.root == text
    assert one("exp=vit_small", f"track.project={text}").track.project == text


@pytest.mark.parametrize("text", ["1e3", "true", "[a,b]", "{a:b}", "007"])
def test_a_text_is_no_number_no_flag_and_no_list(text):
    assert one("exp=vit_small", f"track.project={text}").track.project == text


def test_quotes_escapes_and_null_are_hydras():
    assert one("exp=vit_small", "data.root='/a, b'").data.root == "/a, b"
    assert one("exp=vit_small", 'data.root="/a, b"').data.root == "/a, b"
    assert one("exp=vit_small", r"data.root=/a\,b").data.root == "/a,b"
    assert one("exp=vit_small", "data.root=null").data.root is None


def test_places_are_absolute_and_the_home_directory_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text in ("~/x", "x", "./x/", str(tmp_path / "x")):
        assert one("exp=vit_small", f"data.root={text}").data.root == str(tmp_path / "x")


@pytest.mark.parametrize(
    ("arguments", "message", "values"),
    [
        (
            ["data.root=/a,/b"],
            r"sweep over several runs; add -m .--multirun., or if it is one text quote it: (.*)$",
            ["/a,/b"],
        ),
        (["data.root=/a, $b"], r"sweep over .* quote it: (.*)$", ["/a, $b"]),
        (["-m", "data.root=/a=1,/b=2"], r"as a sweep; quote each: (.*), or if it is one text: ", ["/a=1", "/b=2"]),
        (["-m", "data.root=/a=1,/b=2"], r"or if it is one text: (.*)$", ["/a=1,/b=2"]),
    ],
)
def test_what_could_be_a_sweep_is_answered_with_quotes_that_work(arguments, message, values):
    with pytest.raises(UserError) as mistake:
        compose(["exp=vit_small", *arguments])
    found = re.search(message, str(mistake.value))
    assert found, mistake.value
    configs = compose(["exp=vit_small", "-m", *shlex.split(found[1])])
    assert [config.data.root for config in configs] == values


def test_quotes_of_an_argument_of_a_model_are_told_and_work():
    with pytest.raises(UserError, match=r"cannot be read: .*; if it is text, quote it: ") as mistake:
        compose(["exp=vit_small", "+model.arguments.act_layer=a(b"])
    [argument] = shlex.split(str(mistake.value).partition("quote it: ")[2])
    assert one("exp=vit_small", argument).model.arguments["act_layer"] == "a(b"


@pytest.mark.parametrize("key", ["data.root", "data.hub", "data.cache", "parent", "init", "text.tokenizer", "stop_at"])
@pytest.mark.parametrize("text", ["", " ", "''", '""'])
def test_nothing_is_no_place(key, text):
    with pytest.raises(UserError, match=rf"^{key}={text} .command line. is empty: give a value or leave it out"):
        compose(["exp=bert_glue", f"{key}={text}"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("/" + "a" * 300, "File name too long"), ("/a\0b", "null byte"), ("~nobody_of_that_name/x", "home directory")],
)
@pytest.mark.parametrize("key", ["data.root", "data.hub", "data.cache", "parent", "init", "text.tokenizer"])
def test_a_place_that_cannot_be_looked_at_is_named(key, text, reason):
    with pytest.raises(UserError, match=rf"^{re.escape(key)}=.* .command line.: cannot be looked at: .*{reason}"):
        compose(["exp=bert_glue", f"{key}={text}"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("task=ppo", "task follows from other choices and cannot be set; use exp="),
        ("glue.name=RTE", "cannot be set; use task.name="),
        ("inherited.weights=x", "cannot be set; use parent=, init= or text.tokenizer="),
        ("optim.name=adamw", "cannot be set; use optim="),
        ("data.name=mnist", "cannot be set; use data="),
        ("launch.name=plan", "cannot be set; use launch="),
        ("scale_factors.epochs=1", "cannot be set; use scale= or global_batch_size="),
        ("seed==3", "seed==3 .command line. cannot be read: expected an integer"),
        ("model.channels_last=(yes", "cannot be read: expected true or false"),
        ("optim=a(b", "cannot be read: expected a name or a number"),
    ],
)
def test_what_follows_from_others_is_answered_with_what_to_set(argument, message):
    with pytest.raises(UserError, match=message):
        compose(["exp=bert_glue", argument])


def test_data_are_read_from_one_place():
    with pytest.raises(UserError, match=r"data\.root=/a and data\.hub=b/c .command line.: give one of them"):
        check(one("exp=vit_small", "scale=paper", "data.root=/a", "data.hub=b/c"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["global_batch_size=5000"],
            "^global_batch_size=5000 .command line.: .*4000 training images.*did you mean 4000",
        ),
        (
            ["scale=paper", "global_batch_size=300"],
            "^global_batch_size=300 .command line.: .*=256 .configs/exp.*mean 256",
        ),
        (["scale=paper", "batch_per_device=7"], "^batch_per_device=7 .command line.: does not divide"),
    ],
)
def test_a_batch_is_blamed_on_the_key_that_set_it(arguments, message):
    with pytest.raises(UserError, match=message):
        check(one("exp=vit_small", *arguments))


def test_a_table_is_all_its_cells():
    configs = compose(["table=t4", "seed=2"])
    assert len(configs) == 20
    assert {config.seed for config in configs} == {2}
    assert {config.recipe for config in configs} == {"setting_2"}
    assert all(config.overrides == [] for config in configs)


def test_choices_beside_a_table_pick_cells_and_a_sweep_multiplies_them():
    configs = compose(["table=t4", "-m", "exp=vit_small", "optim=adan", "seed=0,1", "scale=paper"])
    assert [(c.exp, c.optim["name"], c.epochs, c.seed) for c in configs] == [
        ("vit_small", "adan", epochs, seed) for seed in (0, 1) for epochs in (150, 300)
    ]


def test_a_choice_that_no_cell_has_is_a_mistake():
    with pytest.raises(UserError, match=r"optim=sgd .command line.*no cell of table t4.*adamw, adan"):
        compose(["table=t4", "optim=sgd"])


def test_the_batch_size_cells_of_table_7_scale_the_rate_and_stay_in_the_recipe():
    configs = compose(["table=t7", "optim=adan", "scale=paper"])
    rates = {config.batch_size: config.optim["lr"] for config in configs}
    assert rates[4096] == 0.02121
    assert rates[16384] == pytest.approx(2 * 0.02121)
    assert all(config.overrides == [] for config in configs)
