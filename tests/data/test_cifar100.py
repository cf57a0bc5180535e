"""CIFAR-100 from the places that its message names; and what is said where there is none."""

from __future__ import annotations

import pickle
from hashlib import md5, sha256

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR100

from experiments import data
from experiments.schema.compose import compose
from experiments.schema.errors import UserError

SIZES = ["data.train_size=200", "data.test_size=100"]


def config(*arguments):
    [made] = compose(["exp=cifar100_vgg11", "optim=adam", "scale=paper", *arguments])
    return made.data


@pytest.fixture
def authors_files(tmp_path, monkeypatch):
    """Files in the form of the authors', smaller, and torchvision told of their MD5s instead of the real ones'."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, count in (("train", 200), ("test", 100)):
        labels = [number % 100 for number in range(count)]
        rows = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        tree = {"data": rows, "fine_labels": labels, "coarse_labels": [label // 5 for label in labels]}
        (folder / name).write_bytes(pickle.dumps(tree))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [str(label) for label in range(100)]}))
    digests = {name: md5((folder / name).read_bytes()).hexdigest() for name in ("train", "test", "meta")}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": digests["meta"]})
    return folder


@pytest.mark.parametrize("inner", [False, True])
def test_the_authors_files_are_read_in_their_order_with_the_fine_labels(authors_files, inner):
    found = config(f"data.root={authors_files if inner else authors_files.parent}", *SIZES)
    loaded = data.load(found)
    assert loaded.train.labels.tolist() == [number % 100 for number in range(200)]
    raw = pickle.loads((authors_files / "test").read_bytes())["data"][7]
    assert np.array_equal(np.asarray(loaded.test.image(7)), raw.reshape(3, 32, 32).transpose(1, 2, 0))
    bytes_of_both = b"".join((authors_files / name).read_bytes() for name in ("train", "test"))
    assert data.identity(found)["digest"] == sha256(bytes_of_both).hexdigest()


def test_damaged_files_of_the_authors_are_refused_and_never_unpickled(authors_files):
    (authors_files / "train").write_bytes(b"no pickle")
    with pytest.raises(UserError, match=r"does not hold the authors' train, test and meta, or they are damaged"):
        data.load(config(f"data.root={authors_files.parent}", *SIZES))


def test_an_image_folder_will_do(tmp_path):
    for split in ("train", "test"):
        for label in range(100):
            (tmp_path / split / f"{label:02}").mkdir(parents=True)
            Image.new("RGB", (32, 32), (label, 0, 0)).save(tmp_path / split / f"{label:02}" / "0.png")
    loaded = data.load(config(f"data.root={tmp_path}", "data.train_size=100", "data.test_size=100"))
    assert (loaded.num_classes, len(loaded.train)) == (100, 100)


def test_a_table_with_two_columns_of_labels_gives_the_fine_ones(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        img=datasets.Image(),
        fine_label=datasets.ClassLabel(names=[str(label) for label in range(100)]),
        coarse_label=datasets.ClassLabel(names=[str(label) for label in range(20)]),
    )
    images = [Image.new("RGB", (32, 32), (label, 0, 0)) for label in range(100)]
    columns = {"img": images, "fine_label": list(range(100)), "coarse_label": [label // 5 for label in range(100)]}
    for split in ("train", "test"):
        datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / f"{split}.parquet")
    sizes = ["data.train_size=100", "data.test_size=100", f"data.cache={tmp_path / 'cache'}"]
    loaded = data.load(config(f"data.hub={tmp_path}", *sizes))
    assert loaded.train.labels.tolist() == list(range(100))


@pytest.mark.parametrize("place", [[], ["data.root=nowhere"]])
def test_without_data_one_sentence_says_where_to_get_them_and_how_to_name_the_place(place):
    problem = data.missing(config(*place))
    for part in ("data=cifar100", "data.hub=uoft-cs/cifar100", "www.cs.toronto.edu/~kriz/cifar.html", "data.root="):
        assert part in problem
