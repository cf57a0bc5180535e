"""A search is what its file declares: the runs that it asks for, and what may stand beside it on a command line."""

from __future__ import annotations

import itertools

import pytest

from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.errors import UserError
from experiments.schema.searches import load_search, search_names
from experiments.schema.tables import load_table


@pytest.mark.parametrize("scale", ["paper", "mini"])
@pytest.mark.parametrize("name", search_names())
def test_every_run_of_a_search_composes_and_passes_all_checks(name, scale):
    search = load_search(name)
    configs = compose([f"search={name}", f"scale={scale}"])
    assert len(configs) == len(search.exps) * sum(len(search.combinations(optim)) for optim in search.grids)
    for config in configs:
        check(config)
        assert (config.seed, config.recipe) == (search.seed, search.recipe)
        assert config.stop_at == (f"{search.epochs}epochs" if scale == "paper" and search.epochs else None)
        assert search.metric.startswith("val_") and search.metric in config.metrics


def test_a_run_of_a_search_is_the_recipe_but_for_the_settings_of_its_grid():
    rates, decays = (1e-3, 3e-3, 1e-2), (1.2e-6, 0.02)
    configs = compose(["search=ptb_lstm", "exp=ptb_lstm_2", "optim=adan", "scale=paper", "launch.threads=1"])
    assert [(c.optim["lr"], c.optim["weight_decay"]) for c in configs] == list(itertools.product(rates, decays))
    for config in configs:
        assert {text.partition("=")[0] for text in config.overrides} <= {"optim.lr", "optim.weight_decay"}
        assert config.launch.threads == 1


@pytest.mark.parametrize(("search", "table"), [("ptb_lstm", "t8"), ("cifar10", "cifar10")])
def test_a_search_tunes_on_a_seed_that_no_cell_is_judged_on(search, table):
    judged = {0, *load_table(table).seeds}
    assert load_search(search).seed not in judged


def test_what_is_the_same_in_all_runs_of_a_search_stands_in_each_and_is_not_to_be_changed():
    configs = compose(["search=cifar10", "exp=cifar10_resnet34", "scale=paper"])
    assert len(configs) == 12 and {config.data.validation_size for config in configs} == {5000}
    with pytest.raises(UserError, match=r"data.validation_fraction=0.2 .command line.: search=cifar10 decides it"):
        compose(["search=cifar10", "data.validation_fraction=0.2"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search=ptb_lstn"], "search=ptb_lstn .command line.: no such search; did you mean 'ptb_lstm'"),
        (["search=ptb_lstm", "optim=adann"], "optim=adann .command line.: not in search=ptb_lstm; did you mean 'adan'"),
        (
            ["search=ptb_lstm", "exp=vit_small"],
            "not in search=ptb_lstm; choose from: ptb_lstm_1, ptb_lstm_2",
        ),
        (["search=ptb_lstm", "optim.lr=1"], "optim.lr=1 .command line.: search=ptb_lstm decides it"),
        (["search=ptb_lstm", "seed=0"], "seed=0 .command line.: search=ptb_lstm decides it"),
        (["search=ptb_lstm", "table=t8"], "table=t8 .command line.: not beside search=ptb_lstm"),
        (["search=ptb_lstm", "epochs=200"], "epochs=200 .command line.: not beside search=ptb_lstm"),
    ],
)
def test_what_a_search_decides_or_has_not_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        compose(arguments)


def test_a_wrong_file_is_refused_by_its_name(tmp_path):
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "s.yaml").write_text("title: t\nrecipe: r\nmetrik: val_ppl\n")
    with pytest.raises(UserError, match=r"configs/search/s.yaml: a search has no key 'metrik'; did you mean 'metric'"):
        load_search("s", tmp_path)
    (folder / "u.yaml").write_text("title: t\nrecipe: r\n")
    with pytest.raises(UserError, match=r"u.yaml: a search lacks metric, epochs, seed, exps, grids"):
        load_search("u", tmp_path)
