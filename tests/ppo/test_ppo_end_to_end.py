"""PPO as a user starts it: run.py in a real process, one seed and several seeds of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.launch.seed_batches import seed_batches
from experiments.record.verify import verify
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest

# Mean of ten episodes under random actions (standard normal, clipped): -348; the best of 200 such episodes: -178.
BEYOND_RANDOM = -120.0
SMALL = ["exp=ppo_reacher", "ppo.rollout_steps=256", "ppo.passes=1", "schedule.epochs=2", "ppo.evaluation_episodes=2"]


@pytest.fixture
def door(tmp_path: Path):
    folders = {"ADAN_RUNS": str(tmp_path / "runs"), "ADAN_RESULTS": str(tmp_path / "results"), "OMP_NUM_THREADS": "1"}

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(paths.ROOT / "run.py"), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | folders, capture_output=True, text=True, timeout=600
        )

    return start


def test_a_quarter_of_a_mini_run_learns_what_no_random_policy_reaches(door):
    """Random actions return 16 in Hopper, with a deviation of 14 (results/random_policy)."""
    answer = door("exp=ppo_hopper", "optim=adan", "schedule.epochs=12", "evaluation.every=6")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(Path(answer.stdout.rsplit("record: ", 1)[1].strip()).read_text())["summary"]
    assert summary["episode_return"]["last"] > 100


@pytest.mark.slow
def test_a_mini_run_learns_what_no_random_policy_reaches(door):
    answer = door("exp=ppo_halfcheetah", "optim=adan")
    assert answer.returncode == 0, answer.stderr
    record = Path(answer.stdout.rsplit("record: ", 1)[1].strip())
    assert verify(record) == []
    events = map(json.loads, (record.parent / "events.jsonl").read_text().splitlines())
    returns = [event["episode_return"] for event in events if event["kind"] == "evaluation"]
    assert len(returns) == 5
    assert returns[-1] > max(BEYOND_RANDOM, returns[0])


def test_seeds_of_one_process_have_runs_and_records_of_their_own_and_are_not_run_again(door, tmp_path):
    command = [*SMALL, "optim=adam", "-m", "seed=0,1,2", "launch.seeds_per_process=2"]
    first = door(*command)
    assert first.returncode == 0, first.stderr
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "runs").glob("*/record.json"))]
    assert [record["seed"] for record in records] == [0, 1, 2]
    assert [record["split"].get("seeds") for record in records] == [[0, 1], [0, 1], None]
    assert len({record["config_digest"] for record in records}) == 1
    assert len({record["parameters_digest"] for record in records}) == 3
    assert all(verify(path) == [] for path in (tmp_path / "results" / "records").iterdir())
    assert door(*command).stdout.count("done before") >= 3


def test_seeds_and_learning_rates_of_one_process_are_runs_like_those_of_their_own(door, tmp_path):
    rates = [3e-4, 2e-3]
    command = [*SMALL, "optim=adan", "-m", "optim.lr=3e-4,2e-3", "seed=0,1", "launch.seeds_per_process=2"]
    assert door(*command).returncode == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json")]
    alone = compose([*SMALL, "optim=adan", "-m", "optim.lr=3e-4,2e-3", "seed=0,1"])
    key = {(config_digest(config), config.seed): config.optim["lr"] for config in alone}
    assert {(record["config_digest"], record["seed"]) for record in records} == set(key)
    assert all(record["split"]["seeds"] == [0, 1, 0, 1] for record in records)
    assert all(record["split"]["learning_rates"] == [rates[0], rates[0], rates[1], rates[1]] for record in records)
    for record in records:
        events = tmp_path / "runs" / record["run"] / "events.jsonl"
        train = [json.loads(line) for line in events.read_text().splitlines() if '"kind":"train"' in line]
        peak = key[record["config_digest"], record["seed"]]
        assert [event["lr"] for event in train] == pytest.approx([peak, peak / 2])
    assert len({record["parameters_digest"] for record in records}) == 4
    assert all(verify(path) == [] for path in (tmp_path / "results" / "records").iterdir())


def test_runs_are_cut_into_batches_that_differ_in_seed_and_rate_alone():
    configs = compose([*SMALL, "-m", "optim=adan,adam", "seed=0,1,2,3,4", "launch.seeds_per_process=2"])
    batches = [[(config.optim["name"], config.seed) for config in batch] for batch in seed_batches(configs)]
    assert batches == [
        [(name, seed) for seed in seeds] for name in ("adan", "adam") for seeds in ((0, 1), (2, 3), (4,))
    ]
    assert [len(batch) for batch in seed_batches(compose([*SMALL, "-m", "seed=0,1,2"]))] == [1, 1, 1]
    rates = compose([*SMALL, "-m", "seed=0,1,2", "optim.lr=2e-3,1e-4", "launch.seeds_per_process=3"])
    [batch] = seed_batches(rates)
    assert [(config.optim["lr"], config.seed) for config in batch] == [(r, s) for r in (1e-4, 2e-3) for s in range(3)]
