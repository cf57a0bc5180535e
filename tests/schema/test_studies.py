"""Studies: the stages of a file, and what is said about one that cannot be run as it stands."""

from __future__ import annotations

import pytest

from experiments.schema.errors import UserError
from experiments.schema.studies import load_study, study_names
from experiments.schema.tables import load_table, table_names

TUNING = "{name: tuning, exps: [a, b], optims: [adam], recipe: r, epochs: 3, seeds: [1, 2], lr: [0.1, 0.2]}"


def judged(**changes: str) -> str:
    values = {"exps": "[a]", "optims": "[adam]", "recipe": "r", "epochs": "9", "seeds": "[3]", "lr": "tuning"} | changes
    return "{name: judged, " + ", ".join(f"{key}: {value}" for key, value in values.items() if value) + "}"


def written(folder, *stages: str, head: str = "title: T\nmetric: m\n"):
    (folder / "table").mkdir()
    (folder / "table" / "s.yaml").write_text(head + "stages:\n" + "".join(f"- {stage}\n" for stage in stages))
    return folder


def test_a_study_is_no_table_of_cells(tmp_path):
    configs = written(tmp_path, TUNING)
    assert (study_names(configs), table_names(configs)) == (["s"], [])
    with pytest.raises(UserError, match="a study of stages, no table of cells"):
        load_table("s", configs)


def test_stages_are_read_in_order(tmp_path):
    study = load_study("s", written(tmp_path, TUNING, judged(title="the rest")))
    assert [stage.name for stage in study.stages] == ["tuning", "judged"]
    assert study.stage("tuning").lr == [0.1, 0.2] and study.stage("judged").lr == "tuning"
    assert (study.title, study.metric, study.labels, study.stage("judged").title) == ("T", "m", {}, "the rest")
    with pytest.raises(UserError, match="no stage 'judgd'; did you mean 'judged'"):
        study.stage("judgd")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (judged(epoch="4"), "a stage has no key 'epoch'; did you mean 'epochs'?"),
        (judged(seeds=""), "a stage lacks seeds"),
        (judged(lr="tunig"), "takes lr from 'tunig', no stage before it; did you mean 'tuning'?"),
        (judged(seeds="[2, 3]"), r"judged on seeds \[2\] that chose its lr in tuning"),
        (judged(exps="[a, c]"), "takes lr from tuning, which has no c"),
    ],
)
def test_a_stage_that_cannot_be_run_is_refused(tmp_path, stage, message):
    with pytest.raises(UserError, match=message):
        load_study("s", written(tmp_path, TUNING, stage))


def test_a_study_with_an_unknown_key_or_name_names_the_nearest(tmp_path):
    configs = written(tmp_path, TUNING, head="title: T\nmetrik: m\n")
    with pytest.raises(UserError, match="a study has no key 'metrik'; did you mean 'metric'"):
        load_study("s", configs)
    with pytest.raises(UserError, match="no such study; choose from: s"):
        load_study("f2", configs)


def test_figure_2_judges_tuned_rates_on_fresh_seeds_and_every_protocol_on_all_games():
    study = load_study("f2")
    published, tuning, tuned = (study.stage(name) for name in ("published", "tuning", "tuned"))
    judged = [stage for stage in study.stages if not stage.replicates]
    assert all(stage.exps == published.exps and len(stage.exps) == 8 for stage in judged)
    assert len(published.seeds) == len(tuned.seeds) == 10
    assert tuning.epochs == tuned.epochs, "a shorter run with a decay of its own is biased towards large rates"
    assert not set(tuned.seeds) & (set(tuning.seeds) | set(published.seeds))
    assert len({seed for stage in (published, study.stage("replication")) for seed in stage.seeds}) == 20


@pytest.mark.parametrize(
    ("again", "message"),
    [
        ("seeds: [2, 3], replicates: first", ""),
        (
            "seeds: [2, 3], replicates: frist",
            "stage again replicates 'frist', no stage before it; did you mean 'first'",
        ),
        ("seeds: [1, 3], replicates: first", r"stage again repeats seeds \[1\] of first, which it replicates"),
    ],
)
def test_a_replication_names_a_stage_before_it_and_has_seeds_of_its_own(tmp_path, again, message):
    stage = "exps: [a], optims: [x, y], recipe: r, epochs: 1"
    configs = written(tmp_path, f"{{name: first, {stage}, seeds: [0, 1]}}", f"{{name: again, {stage}, {again}}}")
    if message:
        with pytest.raises(UserError, match=message):
            load_study("s", configs)
    else:
        assert load_study("s", configs).stage("again").replicates == "first"
