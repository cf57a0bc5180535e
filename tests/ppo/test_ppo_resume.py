"""A PPO run that was killed ends like one that was left alone: parameters, metrics and event chain, of every seed."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from killed_runs import train_in_child

from experiments import tasks
from experiments.launch import several, worker
from experiments.record.verify import verify
from experiments.schema.compose import compose
from experiments.training.task import Part

KILLED = -signal.SIGKILL
UPDATES_PER_ROLLOUT = 8
CASES = {
    "one seed": ([3], ()),
    "three seeds as one batch": ([0, 1, 2], ()),
    "three seeds, tianshou": ([0, 1, 2], ("recipe=tianshou", "ppo.environments=4")),
    "one seed of an optimizer that is not element-wise": ([1], ("optim=muon",)),
}


def outcome(path: Path) -> dict:
    assert verify(path) == []
    record = json.loads((path / "record.json").read_text())
    return {key: record[key] for key in ("status", "seed", "summary", "parameters_digest", "events", "progress")}


def test_a_batch_of_two_learning_rates_that_was_killed(begin):
    def both(folder: str) -> list[Path]:
        return [path for rate in ("3e-4", "2e-3") for path in begin(folder, [0, 1], "optim=adan", f"optim.lr={rate}")]

    undisturbed, killed = both("undisturbed"), both("killed")
    assert train_in_child(undisturbed) == 0
    assert train_in_child(killed, 2 * UPDATES_PER_ROLLOUT + 3) == KILLED
    assert train_in_child(killed[:2]) == 2, "half a batch is refused"
    assert train_in_child(killed) == 0
    assert list(map(outcome, killed)) == list(map(outcome, undisturbed))
    assert len({outcome(path)["parameters_digest"] for path in killed}) == 4


DIVERGING = {
    "a loss": ("1e30", (), r"loss of run 3 of the batch is inf at update 2, learning rate 1e\+30; "),
    "parameters": ("1e39", ("ppo.passes=1", "batch_size=256", "checkpoint.every=1"), "parameters after update 1: "),
}


@pytest.mark.parametrize("case", ["a loss", pytest.param("parameters", marks=pytest.mark.slow)])
def test_a_run_of_a_batch_that_diverges_ends_alone(begin, case):
    rate, overrides, found = DIVERGING[case]
    per_rollout = 1 if overrides else UPDATES_PER_ROLLOUT

    def batch(folder: str, last: str) -> list[Path]:
        runs = [(0, "3e-4"), (1, "3e-4"), (1, last)]
        return [path for seed, each in runs for path in begin(folder, [seed], f"optim.lr={each}", *overrides)]

    tame, wild, killed = batch("tame", "4e-4"), batch("wild", rate), batch("killed", rate)
    assert train_in_child(tame) == 0
    assert train_in_child(wild) == 1
    assert list(map(outcome, wild[:2])) == list(map(outcome, tame[:2])), "the others never notice"
    lost = outcome(wild[2])
    assert (lost["status"], lost["parameters_digest"]) == ("diverged", None)
    notes = [json.loads(line) for line in (wild[2] / "timing.jsonl").read_text().splitlines()]
    [message] = [note["message"] for note in notes if note["kind"] == "non_finite_loss"]
    assert re.match(found, message) and lost["progress"]["update"] == 1
    assert train_in_child(killed, 2 * per_rollout + 1) == KILLED
    assert train_in_child(killed) == 1
    assert list(map(outcome, killed)) == list(map(outcome, wild))


@pytest.mark.parametrize("case", CASES)
def test_killed_within_and_between_rollouts(begin, case):
    seeds, overrides = CASES[case]
    undisturbed = begin("undisturbed", seeds, *overrides)
    assert train_in_child(undisturbed) == 0
    killed = begin("killed", seeds, *overrides)
    within = 2 * UPDATES_PER_ROLLOUT + 3
    assert train_in_child(killed, UPDATES_PER_ROLLOUT + 5, signal.SIGTERM) == 75, "checkpoints within a rollout"
    assert train_in_child(killed, within) == KILLED
    assert train_in_child(killed, 2 * UPDATES_PER_ROLLOUT + 1) == KILLED
    assert train_in_child(killed) == 0
    assert list(map(outcome, killed)) == list(map(outcome, undisturbed))
    returns = {outcome(path)["summary"]["episode_return"]["last"] for path in killed}
    assert len(returns) == len(seeds), "each seed has a fate of its own"


def test_a_batch_that_was_killed_between_the_records_of_its_seeds_ends_like_any_other(begin):
    paths = begin("runs", [0, 1])
    assert train_in_child(paths) == 0
    expected = list(map(outcome, paths))
    (paths[1] / "record.json").unlink()
    assert train_in_child(paths) == 0
    assert list(map(outcome, paths)) == expected


def test_a_run_that_has_ended_is_never_trained_again_in_another_batch(begin, capsys):
    """Beside one more seed, and beside a seed whose directory is lost, checkpoints with it or without."""
    paths = begin("runs", [0, 1])
    assert train_in_child(paths) == 0
    files = {file: file.read_bytes() for path in paths for file in path.glob("*.json*")}
    for more in ([2], [2, 3]):
        assert worker.run(*paths, *begin("runs", more)) == 2
        assert f"run {paths[0].name} has ended: leave it out of this batch" in capsys.readouterr().err
    shutil.rmtree(paths[0] / "checkpoints")
    shutil.rmtree(paths[1])
    assert worker.run(*begin("runs", [0, 1])) == 2
    assert all(file.read_bytes() == content for file, content in files.items() if file.parent == paths[0])


def test_a_command_that_adds_seeds_trains_those_that_are_missing(tmp_path, monkeypatch, capsys):
    """As a user would: two seeds, then three, then with one lost, the checkpoints of the others gone."""
    monkeypatch.setattr("experiments.schema.paths.RUNS", tmp_path / "runs")
    monkeypatch.setattr("experiments.schema.paths.RESULTS", tmp_path / "results")
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))
    small = ["-m", "exp=ppo_reacher", "ppo.rollout_steps=256", "ppo.passes=2", "schedule.epochs=2", "launch.threads=1"]

    def train(seeds: str, together: int) -> dict[int, str]:
        command = [*small, "ppo.evaluation_episodes=2", f"seed={seeds}", f"launch.seeds_per_process={together}"]
        assert several.run(compose(command)) == 0
        folders = sorted((tmp_path / "results" / "records").iterdir())
        assert all(verify(folder) == [] for folder in folders)
        records = [json.loads((folder / "record.json").read_text()) for folder in folders]
        return {record["seed"]: record["record_digest"] for record in records}

    two = train("0,1", 2)
    three = train("0,1,2", 3)
    assert len(three) == 3 and {seed: three[seed] for seed in two} == two
    [lost] = (tmp_path / "runs").glob("*-seed1")
    shutil.rmtree(lost)
    shutil.rmtree(tmp_path / "results" / "records" / lost.name)
    for checkpoints in (tmp_path / "runs").glob("*/checkpoints"):
        shutil.rmtree(checkpoints)
    again = train("0,1,2", 3)
    assert {seed: again[seed] for seed in (0, 2)} == {seed: three[seed] for seed in (0, 2)}
    assert "done before" in capsys.readouterr().out


@pytest.mark.parametrize("others", [[0], [1, 2], [0, 1]])
def test_seeds_that_were_begun_together_go_on_together(begin, others, capsys):
    paths = begin("runs", [0, 1, 2])
    assert train_in_child(paths, UPDATES_PER_ROLLOUT + 5, signal.SIGTERM) == 75
    assert worker.run(*(paths[seed] for seed in others)) == 2
    assert "-m seed=0,1,2 launch.seeds_per_process=3" in capsys.readouterr().err
    assert train_in_child(paths) == 0


def test_a_record_says_which_seeds_shared_its_process(begin):
    paths = begin("runs", [4, 7])
    assert train_in_child(paths) == 0
    for path in paths:
        record = json.loads((path / "record.json").read_text())
        assert record["split"]["seeds"] == [4, 7]
        assert record["data"]["environment_id"] == "Reacher-v4"


def test_a_state_between_rollouts_leaves_no_rollout_of_what_was_there_before():
    config = compose(["exp=ppo_reacher", "ppo.rollout_steps=256", "ppo.passes=2", "schedule.epochs=3"])[0]
    task = tasks.build(config, Part(0, 1, config.global_batch_size, torch.device("cpu")), [0])
    before = task.state()
    list(task.micro_batches(1))
    within = task.state()
    task.load(before)
    assert (task.update, task.rollout, task.samples, task.batches) == (0, None, None, [])
    task.load(within)
    assert torch.equal(task.state()["samples"], within["samples"])
