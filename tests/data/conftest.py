"""Small folders of real photographs: crops of the two that scikit-learn ships."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

PER_CLASS = {"train": 6, "val": 2}


def write_photographs(root: Path, held_out: str = "val") -> Path:
    """`root/{train,val}/{china,flower}/NN.png`: 12 and 4 crops of 96 x 80 pixels."""
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        place = 0
        for split, count in PER_CLASS.items():
            folder = root / (held_out if split == "val" else split) / name
            folder.mkdir(parents=True)
            for number in range(count):
                top, left = 40 * (place // 4), 130 * (place % 4)
                crop = Image.fromarray(photograph[top : top + 80, left : left + 96])
                crop.save(folder / f"{number:02}.png")
                place += 1
    return root


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """The folder, written once; tests must not change it."""
    return write_photographs(tmp_path_factory.mktemp("photographs"))
