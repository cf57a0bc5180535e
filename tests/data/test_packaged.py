import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from experiments import data
from experiments.data import packaged
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

MNIST = DataConfig("mnist", 10, 1, 4000, 1000, 28, [0.13], [0.31])
DIGITS = DataConfig("digits", 10, 1, 1437, 360, 28, [0.3], [0.37])


@pytest.mark.parametrize(("config", "test_per_class"), [(MNIST, {100}), (DIGITS, {35, 36, 37})])
def test_packaged_digits_are_stratified_shuffled_and_labelled_right(config, test_per_class):
    loaded = data.load(config)
    assert (len(loaded.train), len(loaded.test)) == (config.train_size, config.test_size)
    assert loaded.train.pixels.shape[1:] == (28, 28) and loaded.train.pixels.max() == 255
    manifest = loaded.manifest()
    assert set(manifest["test"]["labels"]) <= test_per_class
    assert len(set(loaded.train.labels[:40])) == 10  # the files are sorted or grouped
    train = loaded.train.pixels.reshape(len(loaded.train), -1).astype(float)
    test = loaded.test.pixels.reshape(len(loaded.test), -1).astype(float)
    assert not {row.tobytes() for row in test} & {row.tobytes() for row in train}
    centres = np.stack([train[loaded.train.labels == label].mean(axis=0) for label in range(10)])
    nearest = ((test[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == loaded.test.labels).mean() > 0.75


def test_the_split_is_fixed():
    digest = data.load(MNIST).manifest()["digest"]
    assert digest == "a1180d46d246b7c10fa240f803d1be84fde8cc8e5daf070e84bdf6cd77cc7d88"


def test_grey_images_can_be_had_in_three_channels():
    config = DataConfig("mnist", 10, 3, 4000, 1000, 28)
    pixels = data.load(config).test.pixels
    assert pixels.shape == (1000, 28, 28, 3)
    assert (pixels[..., 0] == data.load(MNIST).test.pixels).all()


def test_another_file_than_the_known_one_is_refused(monkeypatch):
    monkeypatch.setattr(packaged, "MNIST", (*packaged.MNIST[:2], "0" * 64))
    with pytest.raises(UserError, match="expected 0000"):
        data.load(MNIST)


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        data.load(DIGITS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "mnits"}, "did you mean 'mnist'"),
        ({"train_size": 60000}, r"data\.train_size=60000.*holds 4000"),
        ({"num_classes": 11}, r"data\.num_classes=11"),
        ({"channels": 3}, r"data\.mean=\[0\.13\] must have one value for each of 3"),
        ({"channels": 4}, r"data\.channels=4"),
    ],
)
def test_configurations_that_do_not_fit_the_data_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        data.load(DataConfig(**{**vars(MNIST), **change}))


def test_what_is_missing_is_known_without_torch():
    code = (
        "import sys; from experiments import data; from experiments.schema.config import DataConfig as D;"
        "print(data.missing(D('mnist')), data.missing(D('imagenet')), data.missing(D('cifar10', root='nowhere')));"
        "assert 'torch' not in sys.modules"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert answer.startswith("None data=imagenet needs a place")
    assert "data.root=nowhere does not exist" in answer
