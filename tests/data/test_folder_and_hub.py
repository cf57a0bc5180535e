import shutil

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from experiments import data
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError


def imagenet(**values) -> DataConfig:
    return DataConfig("imagenet", **{"num_classes": 2, "train_size": 12, "test_size": 4, **values})


def pixels(images):
    return [np.asarray(images.image(index)) for index in range(len(images))]


def test_a_folder_is_read_in_sorted_order_and_described(photographs):
    loaded = data.load(imagenet(root=str(photographs)))
    assert loaded.train.labels.tolist() == [0] * 6 + [1] * 6
    assert loaded.test.labels.tolist() == [0, 0, 1, 1]
    files = sorted((photographs / "train").glob("*/*.png"))
    for file, image in zip(files, pixels(loaded.train), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), image)
    manifest = loaded.manifest()
    assert manifest["train"] == {"count": 12, "labels": [6, 6]}
    assert manifest["digest_covers"] == "relative paths and file sizes"


def test_the_digest_of_a_folder_follows_its_content_not_its_place(photographs, tmp_path):
    digest = data.load(imagenet(root=str(photographs))).manifest()["digest"]
    copy = shutil.copytree(photographs, tmp_path / "copy")
    assert data.load(imagenet(root=str(copy))).manifest()["digest"] == digest
    (copy / "val" / "china" / "00.png").rename(copy / "val" / "china" / "07.png")
    assert data.load(imagenet(root=str(copy))).manifest()["digest"] != digest


def test_hub_directories_and_parquet_hold_the_same_images_as_the_folder(photographs, tmp_path):
    datasets.disable_progress_bars()
    cache = str(tmp_path / "cache")
    directory = data.load(imagenet(hub=str(photographs), cache=cache))
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    for split, rows in datasets.load_dataset(str(photographs), cache_dir=cache).items():
        rows.to_parquet(parquet / f"{split}-00000-of-00001.parquet")
    table = data.load(imagenet(hub=str(parquet), cache=cache))
    folder = data.load(imagenet(root=str(photographs)))
    for loaded in (directory, table):
        for split in ("train", "test"):
            expected, found = getattr(folder, split), getattr(loaded, split)
            assert found.labels.tolist() == expected.labels.tolist()
            for left, right in zip(pixels(expected), pixels(found), strict=True):
                np.testing.assert_array_equal(left, right)
    assert table.manifest()["digest"] == directory.manifest()["digest"]
    with pytest.raises(UserError, match=r"has 2 classes, but data\.num_classes=1000"):
        data.load(imagenet(hub=str(parquet), cache=cache, num_classes=1000))


def test_a_hub_repository_that_is_not_there_is_a_users_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"data\.hub=nobody/nothing"):
        data.load(imagenet(hub="nobody/nothing", cache=str(tmp_path)))


def test_missing_pieces_of_a_folder_are_named(photographs, tmp_path):
    def refused(message, **values):
        with pytest.raises(UserError, match=message):
            data.load(imagenet(**values))

    refused("data.hub=ILSVRC/imagenet-1k")
    refused("data.root=/no/such/place is not a directory", root="/no/such/place")
    refused("train/ holds 2 class folders, but data.num_classes=1000", root=str(photographs), num_classes=1000)
    refused("data.train_size=1281167", root=str(photographs), train_size=1281167)
    copy = shutil.copytree(photographs, tmp_path / "copy")
    shutil.rmtree(copy / "val" / "flower")
    refused("'flower' is not in both train/ and val/", root=str(copy))
    (copy / "val" / "flower").mkdir()
    refused("val/flower holds no image", root=str(copy))
    shutil.rmtree(copy / "val")
    refused("has no folder val/", root=str(copy))
    shutil.rmtree(copy / "train")
    refused("has no folder train/", root=str(copy))


def test_a_broken_image_is_named_when_it_is_read(photographs, tmp_path):
    copy = shutil.copytree(photographs, tmp_path / "copy")
    broken = copy / "train" / "china" / "03.png"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(UserError, match=r"china/03\.png"):
        data.load(imagenet(root=str(copy))).train.image(3)
