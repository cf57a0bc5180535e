"""A study: its stages in order, rates chosen by an earlier stage, nothing run twice."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import pytest

from experiments.launch import stages
from experiments.schema import paths
from experiments.schema.errors import UserError
from experiments.schema.overrides import parse
from experiments.schema.study_points import ask_for_a_study

STUDY = """
title: A small study
metric: episode_return
stages:
  - {name: first, exps: [ppo_reacher], optims: [adam, adan], recipe: cleanrl, epochs: 2, seeds: [0, 1]}
  - {name: tuning, exps: [ppo_reacher], optims: [adam], recipe: cleanrl, epochs: 1, seeds: [5, 6], lr: [1.0e-4, 2.0e-2]}
  - {name: tuned, exps: [ppo_reacher], optims: [adam], recipe: cleanrl, epochs: 2, seeds: [7, 8], lr: tuning}
"""
# A rollout of 100 steps (two episodes) and four updates.
SMALLER = {
    "epochs: 488": "epochs: 2",
    "budgets: {147: {}, 488: {}}": "budgets: {1: {}, 2: {}}",
    "rollout_steps: 2048": "rollout_steps: 100",
    "passes: 10": "passes: 2",
    "batch_size: 64": "batch_size: 50",
    "evaluation_episodes: 10": "evaluation_episodes: 2",
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the study above, of games made small, with further arguments of the command line."""
    configs = tmp_path / "configs"
    shutil.copytree(paths.CONFIGS, configs)
    family = configs / "exp" / "families" / "ppo.yaml"
    games = family.read_text()
    for before, after in SMALLER.items():
        assert before in games
        games = games.replace(before, after)
    family.write_text(games)
    (configs / "table" / "small.yaml").write_text(STUDY)
    monkeypatch.setattr(paths, "CONFIGS", configs)
    for name in ("RUNS", "RESULTS"):
        monkeypatch.setenv(f"ADAN_{name}", str(tmp_path / name.lower()))
        monkeypatch.setattr(paths, name, tmp_path / name.lower())

    def run(*arguments: str) -> int:
        points = parse(["table=small", "scale=paper", "launch.threads=1", *arguments])
        assert ask_for_a_study(points, configs)
        return stages.run(points, configs)

    return run


def records(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("results/records/*/record.json"))}


def test_stages_follow_each_other_and_nothing_is_run_twice(study, tmp_path, capfd):
    assert study("stage=tuned") == 1
    assert "ppo_reacher adam: no learning rate before all runs of stage tuning are done" in capfd.readouterr().out
    assert study() == 0
    done = records(tmp_path)
    found = list(map(json.loads, done.values()))
    assert len(found) == 2 * 2 + 2 * 2 + 2
    returns: dict[float, list[float]] = {}
    for record in found:
        if record["seed"] in (5, 6):
            rate = record["config"]["optim"]["lr"]
            returns.setdefault(rate, []).append(record["summary"]["episode_return"]["last"])
            assert record["split"]["learning_rates"] == [1e-4, 1e-4, 2e-2, 2e-2], "all rates and seeds are one batch"
    best = max(returns, key=lambda rate: statistics.fmean(returns[rate]))
    tuned = [record for record in found if record["seed"] in (7, 8)]
    assert [record["config"]["optim"]["lr"] for record in tuned] == [best, best]
    assert {record["epochs"] for record in tuned} == {2}
    capfd.readouterr()
    assert study() == 0
    assert records(tmp_path) == done
    assert "run: " not in capfd.readouterr().out


def with_rates(tmp_path: Path, rates: str) -> None:
    """Another grid of the study."""
    path = tmp_path / "configs" / "table" / "small.yaml"
    path.write_text(path.read_text().replace("[1.0e-4, 2.0e-2]", rates))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="one batch"),
        pytest.param(["launch.seeds_per_process=1"], id="each alone", marks=pytest.mark.slow),
    ],
)
def test_a_rate_at_which_runs_diverge_is_left_out_of_the_choice(study, tmp_path, capfd, arguments):
    with_rates(tmp_path, "[1.0e-4, 1.0e+30]")
    assert study("stage=tuning", *arguments) == 1
    assert capfd.readouterr().out.count("ended by a non-finite loss") >= 2
    status = {name: json.loads(content)["status"] for name, content in records(tmp_path).items()}
    diverged = sorted(name for name, how in status.items() if how == "diverged")
    assert len(diverged) == 2 and sorted(status.values()) == ["diverged"] * 2 + ["finished"] * 2
    said = f"ppo_reacher adam: learning rate 0.0001; failed, because a run diverged: 1e+30 ({', '.join(diverged)})"
    assert study("stage=tuned", "launch=plan") == 0
    assert said in capfd.readouterr().out.replace("\n", " ")
    before = records(tmp_path)
    assert study("stage=tuning") == 1, "runs of the grid failed, and that is not forgotten"
    assert "run: " not in capfd.readouterr().out
    assert study("stage=tuned") == 0
    after = records(tmp_path)
    assert before.items() <= after.items()
    tuned = [record for content in after.values() if (record := json.loads(content))["seed"] in (7, 8)]
    assert [record["config"]["optim"]["lr"] for record in tuned] == [1e-4, 1e-4]


@pytest.mark.slow
def test_a_grid_whose_rates_all_failed_says_so_and_an_unfinished_run_keeps_it_waiting(study, tmp_path, capfd):
    with_rates(tmp_path, "[1.0e+29, 1.0e+30]")
    assert study("stage=tuning") == 1
    capfd.readouterr()
    assert study("stage=tuned") == 1
    said = capfd.readouterr().out
    assert "no learning rate, because at every one of stage tuning a run diverged: 1e+29 (" in said
    first = min((tmp_path / "results" / "records").iterdir())
    shutil.rmtree(first)
    assert study("stage=tuned") == 1
    assert "no learning rate before all runs of stage tuning are done" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exp=ppo_reachr"], "no stage of table=small has it; did you mean 'ppo_reacher'"),
        (["stage=tuned", "seed=5"], "no stage of table=small has all of these"),
        (["stage=first", "optim.lr=1e-3"], "the stages of table=small decide the rates"),
        (["precision=fp31"], "precision"),
    ],
)
def test_a_mistake_is_answered_before_the_first_run(study, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        study(*arguments)
    assert not (tmp_path / "runs").exists()


def test_a_plan_of_a_study_says_what_waits(study, capsys):
    assert study("launch=plan", "optim=adam") == 0
    said = capsys.readouterr().out
    assert "stage tuned: ppo_reacher adam: no learning rate before all runs of stage tuning are done" in said
    assert "in all: " in said
