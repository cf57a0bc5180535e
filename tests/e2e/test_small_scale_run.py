"""A run at small scale through the door: all that shows it says its scale, and nothing holds it against the paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

PER_CLASS = {"train": 16, "test": 2}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """`{train,test}/{china,flower}/NN.png`: crops of 32 x 32 pixels, the shape of CIFAR-10."""
    root = tmp_path_factory.mktemp("photographs")
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        place = 0
        for split, count in PER_CLASS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                top, left = 32 * (place // 16), 32 * (place % 16)
                Image.fromarray(photograph[top : top + 32, left : left + 32]).save(folder / f"{number:02}.png")
                place += 1
    return root


def test_a_small_run_says_so_everywhere(door, script, tmp_path, photographs):
    brief = ["data.num_classes=2", "data.train_size=32", "data.test_size=4", "global_batch_size=8"]
    whole = ["schedule.epochs=1", "schedule.warmup_epochs=0", "evaluation.batch_size=4", f"data.root={photographs}"]
    command = ["exp=vit_small", "scale=small", *brief, *whole]
    finished = door(*command)
    assert finished.returncode == 0, finished.stderr
    told = " ".join(finished.stdout.split())
    assert "recipe setting_2, small scale" in told
    assert "verdict: not comparable with the paper (small scale)" in told
    path = Path(finished.stdout.splitlines()[-1].removeprefix("record: "))
    assert path.parent.name.startswith("vit_small-adan-small-")
    record = json.loads(path.read_text())
    assert (record["status"], record["scale"], record["config"]["precision"]) == ("finished", "small", "bf16")
    assert record["progress"]["update"] == 4 and 0 <= float(record["summary"]["top1"]["last"]) <= 100

    assert script("make_tables.py", "t4").returncode == 0
    page = (tmp_path / "results" / "tables" / "t4.md").read_text()
    assert page.index("## Paper scale") < page.index("## Small scale: top1") < page.index("## Mini scale: top1")
