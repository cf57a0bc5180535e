"""Images that cannot be read are named by file or row, and before training where that can be known."""

import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from experiments import data, tasks
from experiments.data import readable
from experiments.data.augmentation import EvaluationTransform, TrainTransform
from experiments.data.images import TableImages
from experiments.data.readable import require_readable
from experiments.data.reading import EvaluationReader, TrainReader, read_ahead
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.schema.config import AugmentationConfig, DataConfig, EvaluationConfig
from experiments.schema.errors import DataError, UserError
from experiments.training.task import Part

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))


def imagenet(root: Path, **values) -> DataConfig:
    return DataConfig("imagenet", **{"num_classes": 2, "train_size": 12, "test_size": 4, "root": str(root), **values})


def damaged_chunk(path: Path) -> None:
    NOISE.save(path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"IDAT") + 3] ^= 0xFF
    path.write_bytes(content)


def damaged_stream(path: Path) -> None:
    """A chunk whose checksum fits and whose content is no stream of zlib's."""
    NOISE.save(path)
    content = path.read_bytes()
    start = content.index(b"IDAT")
    length = struct.unpack(">I", content[start - 4 : start])[0]
    chunk = b"IDAT" + bytes(length)
    end = start + 4 + length
    path.write_bytes(content[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[end + 4 :])


def cut(path: Path) -> None:
    NOISE.save(path, "jpeg")
    path.write_bytes(path.read_bytes()[:9000])


def too_large(path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(path)


DAMAGES = {
    "damaged chunk": damaged_chunk,
    "damaged stream": damaged_stream,
    "cut": cut,
    "200 megapixels": too_large,
    "a PPM without a size": lambda path: path.write_bytes(b"P6\nx y 255\n" + bytes(100)),
    "a TIFF without a content": lambda path: path.write_bytes(b"II*\0\x08\0\0\0"),
    "a BMP of no known header": lambda path: path.write_bytes(b"BM" + bytes(60)),
    "no image": lambda path: path.write_text("<html>404</html>"),
}


@pytest.fixture
def folder(photographs, tmp_path) -> Path:
    return shutil.copytree(photographs, tmp_path / "photographs")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("split", "held_out"), [("train", False), ("val", True)])
def test_a_damaged_file_is_named_before_training(folder, damage, split, held_out):
    path = folder / split / "flower" / "01.png"
    DAMAGES[damage](path)
    loaded = data.load(imagenet(folder))
    images = loaded.test if held_out else loaded.train
    with pytest.raises(UserError, match=r"^cannot read the image .*/flower/01\.png: .+") as mistake:
        require_readable(images, held_out)
    assert "\n" not in str(mistake.value)
    require_readable(loaded.train if held_out else loaded.test, not held_out)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_where_it_is_read_for_training(folder, workers):
    damaged_chunk(folder / "train" / "china" / "03.png")
    config = imagenet(folder, image_size=32)
    reader = TrainReader(data.load(config).train, TrainTransform(AugmentationConfig(), config), seed=0)
    with pytest.raises(DataError, match=r"^cannot read the image .*/china/03\.png: SyntaxError: broken PNG"):
        list(read_ahead(reader, [np.array([[0, index, 0]]) for index in range(12)], workers))


def test_headers_alone_are_read_of_many_held_out_images_and_none_of_many_to_train_on(folder, monkeypatch):
    monkeypatch.setattr(readable, "DECODED_UP_TO", 3)
    damaged_chunk(folder / "train" / "china" / "00.png")
    damaged_chunk(folder / "val" / "china" / "00.png")  # behind its header
    loaded = data.load(imagenet(folder))
    require_readable(loaded.train, held_out=False)
    require_readable(loaded.test, held_out=True)
    too_large(folder / "val" / "flower" / "00.png")
    with pytest.raises(UserError, match=r"val/flower/00\.png: DecompressionBombError: Image size \(200000000"):
        require_readable(loaded.test, held_out=True)


def test_an_image_of_100_megapixels_is_read_without_a_warning(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    read = f"""
import numpy as np
from pathlib import Path
from experiments.data.images import FileImages
print(FileImages(Path({str(tmp_path)!r}), np.array([b"large.png"]), np.zeros(1, dtype=np.int64), "L").image(0).size)
"""
    ran = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, cwd=paths.ROOT)
    assert (ran.stdout, ran.stderr) == ("(10000, 10000)\n", "")


@pytest.mark.parametrize("decoded_up_to", [0, 2_000])
def test_images_that_are_not_resized_must_have_their_size(folder, monkeypatch, decoded_up_to):
    monkeypatch.setattr(readable, "DECODED_UP_TO", decoded_up_to)
    NOISE.crop((0, 0, 96, 96)).save(folder / "val" / "flower" / "01.png")
    images = data.load(imagenet(folder)).test
    with pytest.raises(UserError, match=r"china/00\.png has 96 x 80 pixels, not 96 x 96: give data\.resize=true"):
        require_readable(images, held_out=True, side=96)
    require_readable(images, held_out=True)


def test_an_image_that_cannot_be_resized_is_named(folder):
    Image.new("1", (170_000_000, 1)).save(folder / "val" / "china" / "00.png")  # 256 high, it would have 43 gigapixels
    config = imagenet(folder, image_size=224)
    reader = EvaluationReader(data.load(config).test, EvaluationTransform(EvaluationConfig(), config))
    with pytest.raises(DataError, match=r"^cannot read the image .*/val/china/00\.png: "):
        reader(np.array([0]))


def table(images, labels, classes=2) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=classes)})
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)


@pytest.fixture
def encoded(folder) -> dict:
    return {"bytes": (folder / "train" / "china" / "00.png").read_bytes(), "path": None}


@pytest.mark.parametrize("decoded_up_to", [0, 2_000])
@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, "the row has no image"),
        ({"bytes": b"", "path": None}, "its bytes are no image that Pillow knows"),
        ({"bytes": b"<html>404</html>", "path": None}, "its bytes are no image that Pillow knows"),
        ({"bytes": None, "path": "/no/such/image.png"}, "No such file"),
    ],
)
def test_the_row_of_an_image_that_cannot_be_read_is_named(encoded, monkeypatch, decoded_up_to, image, reason):
    monkeypatch.setattr(readable, "DECODED_UP_TO", decoded_up_to)
    rows = table([encoded, encoded, image], [0, 1, 1])
    images = TableImages(rows, "image", np.array([0, 1, 1]), where="split validation of data.hub=place")
    message = rf"^cannot read the image in row 2 \(from 0\) of split validation of data\.hub=place: .*{reason}"
    with pytest.raises(UserError, match=message):
        require_readable(images, held_out=True)
    assert images.size(0) == images.image(0).size == (96, 80)


@pytest.mark.parametrize("label", [None, -1])
def test_a_label_that_is_none_is_named_when_the_table_is_read(encoded, tmp_path, label):
    datasets.disable_progress_bars()
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    for split, last in (("train", 1), ("validation", label)):
        table([encoded] * 4, [0, 1, 0, last]).to_parquet(parquet / f"{split}-00000-of-00001.parquet")
    config = DataConfig("imagenet", num_classes=2, train_size=4, test_size=4, hub=str(parquet))
    config.cache = str(tmp_path / "cache")
    message = rf"^row 3 \(from 0\) of split validation of data\.hub=.* has label {label}, expected one from 0 to 1"
    with pytest.raises(UserError, match=message):
        data.load(config)


def test_an_empty_file_is_named_when_the_listing_is_read(folder):
    (folder / "val" / "china" / "01.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^cannot read the image .*/val/china/01\.png: the file is empty"):
        data.load(imagenet(folder))


@pytest.mark.parametrize(("split", "damage"), [("train", damaged_chunk), ("val", cut)])
def test_no_run_begins_on_images_that_cannot_be_read(folder, split, damage):
    damage(folder / split / "china" / "01.png")
    sizes = ("data.num_classes=2", "data.train_size=12", "data.test_size=4", "data.image_size=64")
    [config] = compose(["exp=resnet18", "scale=paper", *sizes, "global_batch_size=4", f"data.root={folder}"])
    with pytest.raises(UserError, match=rf"^cannot read the image .*/{split}/china/01\.png: "):
        tasks.build(config, Part(micro_batch=4))
