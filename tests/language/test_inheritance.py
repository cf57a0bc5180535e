"""Weights that a run cannot begin with are refused before any work, by their name and with what to do."""

from __future__ import annotations

import json

import pytest

from experiments import tasks
from experiments.launch.dispatch import require_data
from experiments.record.run_directory import RunDirectory
from experiments.record.seal import with_digests
from experiments.schema.compose import compose
from experiments.schema.errors import UserError
from experiments.schema.typed import to_dict


def sealed(directory: RunDirectory, status: str = "finished", **fields) -> RunDirectory:
    """A record as far as inheritance reads it, and a file that stands for a checkpoint."""
    config = directory.config_tree()
    record = {
        **{"run": directory.name, "exp": "bert_pretrain", "optim": config["optim"]["name"], "scale": config["scale"]},
        **{"status": status, "progress": {"update": 3, "total_updates": 6}, "overrides": [], "seed": 0},
        "data": {"source": "2 text files"},
        **{"parameters_digest": "ab" * 32, "config": config, **fields},
    }
    directory.record_path.write_text(json.dumps(with_digests(record)))
    directory.checkpoints.mkdir(exist_ok=True)
    (directory.checkpoints / "update-00000006-00.pt").touch()
    return directory


@pytest.fixture
def pretrained(pretraining, runs):
    return RunDirectory.open_or_create(runs, pretraining())


def test_a_finished_parent_is_found_by_directory_record_and_name(fine_tuning, pretrained):
    parent = sealed(pretrained)
    for place in (parent.path, parent.record_path, parent.name):
        config = fine_tuning(f"parent={place}")
        assert config.parent == str(parent.path) and config.inherited.weights == "ab" * 32
        assert config.overrides == [text for text in config.overrides if not text.startswith("parent=")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parent: None, "the run is not finished"),
        (lambda parent: sealed(parent, "partial"), "stopped at update 3 of 6; its command without stop_at goes on"),
        (lambda parent: sealed(parent, "diverged"), "a loss that was not finite ended the run"),
        (lambda parent: [path.unlink() for path in sealed(parent).checkpoints.iterdir()], "are not on this machine"),
        (
            lambda parent: sealed(parent, config={**parent.config_tree(), "task": "image_classification"}),
            "pre-trained no model for bert_glue",
        ),
        (
            lambda parent: sealed(
                parent, data={"source": "Hugging Face data set cornell-movie-review-data/rotten_tomatoes"}
            ),
            "rotten_tomatoes, which holds the development set of SST-2",
        ),
    ],
)
def test_a_parent_that_will_not_do_is_refused(fine_tuning, pretrained, change, message):
    change(pretrained)
    with pytest.raises(UserError, match=message):
        fine_tuning(f"parent={pretrained.path}")


def test_an_unknown_parent_is_answered_with_the_nearest_run(fine_tuning, pretrained):
    with pytest.raises(UserError, match=f"no run directory and no record; did you mean '{pretrained.name}'"):
        fine_tuning(f"parent={pretrained.name}x")


def test_a_damaged_neighbour_is_passed_over(fine_tuning, pretrained, runs):
    sealed(pretrained)
    for name, file in (("torn", "config.json"), ("torn too", "record.json")):
        (runs / name).mkdir()
        (runs / name / "config.json").write_text("{}")
        (runs / name / file).write_text("{")
    assert fine_tuning().parent == str(pretrained.path)
    with pytest.raises(UserError, match=f"no run directory and no record; did you mean '{pretrained.name}'"):
        fine_tuning(f"parent={pretrained.name}x")
    with pytest.raises(UserError, match=r"torn too/record.json is damaged"):
        fine_tuning("parent=torn too")


def test_runs_that_are_no_parents_are_not_offered(fine_tuning, pretrained, runs):
    RunDirectory.open_or_create(runs, fine_tuning())
    with pytest.raises(UserError, match=f"choose from: {pretrained.name}$|did you mean '{pretrained.name}'"):
        fine_tuning("parent=bert")


def test_another_architecture_is_refused(fine_tuning, pretrained):
    sealed(pretrained)
    with pytest.raises(UserError, match=r"has model.arguments.hidden_size=16, this run \(scale=mini\) 32"):
        fine_tuning(f"parent={pretrained.path}", "model.arguments.hidden_size=32")
    fine_tuning(f"parent={pretrained.path}", "model.arguments.hidden_dropout_prob=0.3")


def test_weights_of_another_optimizer_leave_the_recipe(fine_tuning, pretrained):
    sealed(pretrained)
    config = fine_tuning(f"parent={pretrained.path}", "optim=adam")
    assert config.overrides[-1] == f"parent={pretrained.name}"


def test_at_mini_scale_the_newest_finished_run_of_the_optimizer_is_taken(fine_tuning, pretrained, capsys):
    assert not fine_tuning().inherited.weights
    assert "give parent=RUN of `python run.py exp=bert_pretrain optim=adan scale=mini`" in tasks.missing(fine_tuning())
    sealed(pretrained, overrides=["optim.lr=1"])
    assert not fine_tuning().inherited.weights, "that one left its recipe"
    sealed(pretrained)
    assert fine_tuning().inherited.source == pretrained.name
    assert f"parent={pretrained.name}: the newest finished bert_pretrain by adan" in capsys.readouterr().err
    assert not fine_tuning("optim=adam").inherited.weights
    assert tasks.missing(fine_tuning()) is None


@pytest.mark.parametrize(("exp", "own"), [("bert_glue", False), ("bert_pretrain", True), ("ptb_lstm_1", True)])
def test_mini_scale_is_said_to_bring_its_own_data_where_it_does(exp, own):
    with pytest.raises(UserError, match=f"scale=paper of exp={exp}: ") as raised:
        require_data(compose([f"exp={exp}", "scale=paper", *["task.name=RTE"][: exp == "bert_glue"]]))
    assert ("scale=mini brings its own" in str(raised.value)) is own


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such folder; give one that save_pretrained wrote"),
        ({}, "the folder has no config.json"),
        (
            {"config.json": '{"model_type": "bert"}'},
            "the folder has no weights .model.safetensors or pytorch_model.bin",
        ),
        ({"config.json": "{}", "model.safetensors": "x"}, "config.json names no model_type"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused(fine_tuning, tmp_path, files, message):
    folder = tmp_path / "folder"
    if files is not None:
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
    with pytest.raises(UserError, match=f"init={folder} .command line.: {message}"):
        fine_tuning(f"init={folder}")


def test_weights_decide_a_runs_name_their_place_does_not(fine_tuning, tmp_path):
    from experiments.record.run_directory import run_name

    names = []
    for place, weights in (("a", "1"), ("b", "1"), ("c", "2")):
        folder = tmp_path / place / "bert"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
        (folder / "model.safetensors").write_text(weights)
        names.append(run_name(to_dict(fine_tuning(f"init={folder}"))))
    assert names[0] == names[1] != names[2]


def test_only_fine_tuning_begins_with_weights(pretraining, fine_tuning):
    with pytest.raises(UserError, match=r"init=/x \(command line\): bert_pretrain begins with random weights"):
        pretraining("init=/x")
    with pytest.raises(UserError, match="give one of them"):
        fine_tuning("init=/x", "parent=y")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("task.name=Cola", "task.name=Cola .command line.: bert_glue has no such task; did you mean 'CoLA'"),
        ("glue.name=RTE", "glue.name follows from other choices"),
        ("inherited.weights=x", "inherited.weights follows from other choices"),
    ],
)
def test_what_cannot_be_chosen_is_refused(fine_tuning, argument, message):
    with pytest.raises(UserError, match=message):
        fine_tuning(argument)
