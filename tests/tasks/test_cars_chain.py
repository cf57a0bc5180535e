"""Stanford Cars' two stages: the second begins with the first one's weights, and what is missing is said."""

import json
import os
import subprocess
import sys

import pytest

from experiments.schema.paths import ROOT


def run(folder, *arguments):
    environment = {**os.environ, "ADAN_RUNS": str(folder / "runs"), "ADAN_RESULTS": str(folder / "results")}
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_without_weights_or_parent_one_sentence_says_what_to_give(tmp_path):
    for side in ("train", "test"):
        (tmp_path / "cars" / side).mkdir(parents=True)
    place = ("scale=paper", f"data.root={tmp_path / 'cars'}", "optim=adamw")
    first, second = run(tmp_path, "exp=cars_resnet50_head", *place), run(tmp_path, "exp=cars_resnet50", *place)
    assert first.returncode and "give init=FILE, a state dict" in first.stdout + first.stderr
    assert second.returncode and "exp=cars_resnet50_head" in second.stdout + second.stderr


def test_a_file_that_is_not_there_is_refused(tmp_path):
    ended = run(tmp_path, "exp=cars_resnet50_head", "optim=adamw", f"init={tmp_path / 'no.pth'}")
    assert ended.returncode and "no file of weights" in ended.stdout + ended.stderr


@pytest.mark.slow
def test_the_second_stage_takes_the_first_ones_weights(tmp_path):
    for exp in ("cars_resnet50_head", "cars_resnet50"):
        ended = run(tmp_path, f"exp={exp}", "optim=adamw")
        assert ended.returncode == 0, ended.stderr
    records = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json")}
    head, whole = sorted(records.values(), key=lambda record: record["exp"], reverse=True)
    assert whole["config"]["inherited"]["weights"] == head["parameters_digest"]
    assert not whole["overrides"]
