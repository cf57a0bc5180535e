"""The same command on other data, through the door: it neither prints nor continues what is of the first."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_joined import start_ranks

from experiments import tasks
from experiments.schema import paths

run = SimpleNamespace(**runpy.run_path(str(paths.ROOT / "run.py")))  # the door is no module of a package
SMALL = [
    *("exp=resnet18", "optim=adan", "scale=paper", "data.num_classes=2", "data.image_size=32", "global_batch_size=4"),
    *("launch.micro_batch=2", "data.workers=0", "data.train_size=8", "data.test_size=4", "launch.threads=1"),
]


@pytest.fixture
def write(tmp_path: Path):
    """An image folder of noise: eight training and four held-out images of two classes."""

    def written(name: str) -> Path:
        generator = np.random.default_rng(ord(name))
        for split, count in (("train", 4), ("val", 2)):
            for label in "ab":
                (tmp_path / name / split / label).mkdir(parents=True)
                for number in range(count):
                    pixels = generator.integers(0, 255, (32, 40, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(tmp_path / name / split / label / f"{number}.bmp")
        return tmp_path / name

    return written


def command(root: Path, *more: str) -> list[str]:
    return [*SMALL, f"data.root={root}", *more]


def test_a_finished_point_and_a_resume_are_of_equal_data(write, folders, capsys):
    a, b = write("A"), write("B")
    assert run.main(command(a, "stop_at=1updates")) == 0
    first = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("record: "))
    sealed = first.read_bytes()
    for more in (["stop_at=1updates"], ["stop_at=2updates"]):
        assert run.main(command(b, *more)) == 2
        said = capsys.readouterr()
        assert said.out == "", "nothing of the first is printed"
        assert "image folder A" in said.err and "image folder B" in said.err and "force=true" in said.err
    assert first.read_bytes() == sealed

    assert run.main(command(b, "stop_at=1updates", "force=true")) == 0
    second = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("record: "))
    assert second.parent.name == f"{first.parent.name}-attempt2"
    data = [json.loads(record.read_bytes())["data"] for record in (first, second)]
    assert data[0]["digest"] != data[1]["digest"]
    assert data[0]["train"] == {"count": 8, "labels": [4, 4]}
    for root, record in ((a, first), (b, second)):
        assert run.main(command(root, "stop_at=1updates")) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"record: {record}"

    moved = Path(shutil.move(a, folders / "moved"))
    assert run.main(command(moved, "stop_at=2updates")) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"record: {first}"
    assert json.loads(first.read_bytes())["progress"]["update"] == 2

    picture = moved / "train" / "a" / "0.bmp"
    picture.write_bytes(picture.read_bytes()[:-1] + b"\0")
    assert run.main(command(moved, "stop_at=3updates")) == 2
    assert "was begun on" in capsys.readouterr().err


def test_of_a_sweep_over_folders_the_runs_of_other_data_fail_and_the_others_go_on(write, folders, capfd):
    a, b = write("A"), write("B")
    assert run.main(command(a, "stop_at=1updates")) == 0
    capfd.readouterr()
    assert run.main([*SMALL, "-m", f"data.root={a},{b}", "seed=0,1", "stop_at=1updates"]) == 1
    said = capfd.readouterr().out
    assert "4 runs" in said and "done before" in said
    assert said.count("was begun on image folder A") == said.count("and this command reads image folder B") == 2
    [other] = (folders / "runs").glob("*-seed1/record.json")
    assert f"record: {other}" in said


@pytest.mark.slow
def test_ranks_refuse_other_data_with_one_voice(write):
    a, b = write("A"), write("B")
    for root, status in ((a, 0), (b, 2)):
        first, second = start_ranks(2, command(root, "stop_at=1updates"))
        assert (first.returncode, second.returncode) == (status, status), first.stderr + second.stderr
        assert second.stdout == ""
    assert "image folder A" in first.stderr and "image folder B" in first.stderr


@pytest.mark.parametrize("arguments", [["--help"], [*SMALL, "data.root=/nowhere", "launch=plan"]])
def test_help_and_plan_read_no_data(monkeypatch, capsys, arguments):
    monkeypatch.setattr(tasks, "data_identity", lambda _config: pytest.fail("data were read"))
    assert run.main(arguments) == 0
