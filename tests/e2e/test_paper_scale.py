"""The paper-scale path end to end, on a small folder of real photographs: 224 pixels, RandAugment, workers, bf16."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

SIZES = {"train": 8, "val": 4}
SMALL = [
    "scale=paper",
    "stop_at=1",
    "precision=bf16",
    "batch_size=8",
    "global_batch_size=8",
    "batch_per_device=4",
    "data.num_classes=2",
    "data.train_size=16",
    "data.test_size=8",
    "data.workers=1",
]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """An image folder: crops of scikit-learn's two photographs, a class each."""
    draw = np.random.RandomState(0)
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        for split, count in SIZES.items():
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                top, left = draw.randint(100), draw.randint(200)
                Image.fromarray(pixels[top : top + 300, left : left + 400]).save(folder / f"{number}.jpg")
    return tmp_path / "photographs"


def test_an_epoch_on_an_image_folder(door, photographs):
    answer = door(
        "exp=vit_small",
        f"data.root={photographs}",
        "model.name=deit_tiny_patch16_224",
        "model.arguments.depth=2",
        *SMALL,
    )
    assert answer.returncode == 0, answer.stderr
    record = json.loads(Path(answer.stdout.splitlines()[-1].removeprefix("record: ")).read_text())
    assert record["progress"] == {"update": 2, "total_updates": 620, "epoch": 1, "total_epochs": 310}
    assert record["split"]["micro_batch"] == 4
    assert 0 <= record["summary"]["top1"]["last"] <= 100
    assert str(photographs) not in json.dumps(record), "records name no folder of the machine"
    assert "verdict: none, a partial run is only set beside the authors' curve" in answer.stdout
    said = answer.stdout.replace("\n  ", " ")
    assert "curve: the authors released one for this cell, but this run cannot be held against it" in said


def test_a_folder_that_is_not_imagenet_is_refused(door, photographs):
    answer = door("exp=resnet50", "optim=adan", "scale=paper", f"data.root={photographs}")
    assert answer.returncode == 2
    assert "train/ holds 2 class folders, but data.num_classes=1000" in answer.stderr
    assert "Traceback" not in answer.stderr
