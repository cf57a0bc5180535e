"""What data are known by before a run begins: what they hold, wherever they lie."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from experiments import data
from experiments.data import contents, glue, packaged
from experiments.data.subwords import documents
from experiments.schema.config import DataConfig


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight training and four held-out images of noise, of two classes, written long ago."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.bmp")
    return tmp_path / "images"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are kept; files are as good as old."""
    monkeypatch.setattr(contents, "SECONDS_TO_SETTLE", 0)
    return tmp_path / "cache"


def images(root: Path, cache: Path | str = "/dev/null/nothing") -> DataConfig:
    return DataConfig(
        name="imagenet", root=str(root), num_classes=2, train_size=8, test_size=4, channels=3, cache=str(cache)
    )


def digest(root: Path, cache: Path | str = "/dev/null/nothing") -> str:
    return data.identity(images(root, cache))["digest"]


def change_a_byte(file: Path) -> None:
    """Another byte at the end, with the size and the time of before."""
    before, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_copy_is_the_same_and_any_change_another(folder, tmp_path, cache):
    first = digest(folder, cache)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert digest(copy, cache) == first
    seen = {first}
    for change in (
        lambda: change_a_byte(copy / "train" / "cat" / "0.bmp"),
        lambda: change_a_byte(copy / "val" / "dog" / "1.bmp"),
        lambda: shutil.copy(copy / "train" / "cat" / "0.bmp", copy / "train" / "cat" / "9.bmp"),
        lambda: (copy / "train" / "cat" / "9.bmp").rename(copy / "train" / "dog" / "9.bmp"),
        lambda: [(copy / split / "cat").rename(copy / split / "bird") for split in ("train", "val")],
    ):
        change()
        found = digest(copy, cache)
        assert found not in seen
        seen.add(found)
    assert digest(folder, cache) == first


def test_the_listing_is_that_of_earlier_records(folder, cache):
    config = images(folder, cache)
    manifest = data.load(config).manifest()
    loaded = {key: manifest[key] for key in ("digest", "digest_covers")}
    assert data.identity(config)["loaded"] == loaded
    assert loaded["digest_covers"] == "relative paths and file sizes"


def test_what_was_read_once_is_only_looked_at(folder, cache, monkeypatch):
    first = digest(folder, cache)

    def read(_path: bytes) -> bytes:
        raise AssertionError("read again")

    with monkeypatch.context() as once:
        once.setattr(contents, "_digest_of_file", read)
        assert digest(folder, cache) == first
        with pytest.raises(AssertionError):
            digest(folder)  # nothing can be kept there, so it is read


def test_files_written_a_moment_ago_are_not_remembered(folder, tmp_path):
    digest(folder, tmp_path / "cache")
    assert not (tmp_path / "cache" / "digests").exists()


@pytest.mark.parametrize("damage", [b"", b"0" * 64, b"\xff\xfe", b"1" * 64 + b" " + b"2" * 64])
def test_a_damaged_memory_is_found_out(folder, cache, damage):
    first = digest(folder, cache)
    [kept] = (cache / "digests").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert digest(folder, cache) == first
    assert kept.read_bytes() == whole


def test_the_memory_of_another_folder_is_not_believed(folder, tmp_path, cache):
    first = digest(folder, cache)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    change_a_byte(other / "train" / "cat" / "0.bmp")
    second = digest(other, cache)
    one, two = sorted((cache / "digests").iterdir())
    swapped = one.read_bytes(), two.read_bytes()
    one.write_bytes(swapped[1])
    two.write_bytes(swapped[0])
    assert (digest(folder, cache), digest(other, cache)) == (first, second)


def test_of_a_large_folder_names_and_sizes_of_all_and_contents_of_some_count(folder, cache, monkeypatch):
    monkeypatch.setattr(contents, "ALL_UP_TO", 0)
    monkeypatch.setattr(contents, "SAMPLED", 2)
    covers = data.identity(images(folder, cache))["digest_covers"]
    assert covers == "names and sizes of all files, contents of 2 evenly spaced files of each split"
    first = digest(folder, cache)
    change_a_byte(folder / "train" / "dog" / "1.bmp")  # neither the first nor the last
    assert digest(folder, cache) == first
    change_a_byte(folder / "train" / "dog" / "3.bmp")
    second = digest(folder, cache)
    assert second != first
    (folder / "train" / "dog" / "1.bmp").write_bytes((folder / "train" / "dog" / "1.bmp").read_bytes() + b"\0")
    assert digest(folder, cache) not in (first, second)


def test_samples_are_spread_evenly():
    assert contents.evenly_spaced(3) == [0, 1, 2]
    places = contents.evenly_spaced(1_281_167)
    assert (len(places), len(set(places)), places[0], places[-1]) == (1024, 1024, 0, 1_281_166)
    assert {later - earlier for earlier, later in pairwise(places)} <= {1252, 1253}


def test_known_packages_need_no_reading(monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda _path: pytest.fail("read"))
    for name in ("mnist", "digits"):
        found = data.identity(DataConfig(name=name, num_classes=10, channels=1))
        assert found["digest"] == packaged.FILES[name][2]


def table_folder(root: Path, labels: list[int], texts: list[str]) -> Path:
    """A data set of the hub's library with images, labels and texts, as Parquet."""
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in labels]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )
    root.mkdir()
    for split in ("train", "validation"):
        rows = {"image": pictures, "label": labels, "text": texts}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(root / f"{split}-00000-of-00001.parquet")
    return root


def test_tables_of_the_hub_are_known_by_images_labels_and_texts(tmp_path, cache):
    labels, texts = [0, 1, 1, 0], ["a", "b", "", "d"]
    first = table_folder(tmp_path / "first", labels, texts)
    other_texts = table_folder(tmp_path / "texts", labels, ["a", "b", "", "e"])
    other_labels = table_folder(tmp_path / "labels", [0, 1, 0, 0], texts)

    def of_images(root: Path) -> str:
        config = DataConfig(
            name="imagenet", hub=str(root), num_classes=2, train_size=4, test_size=4, channels=3, cache=str(cache)
        )
        return data.identity(config)["digest"]

    def of_texts(root: Path) -> str:
        return documents.identity(DataConfig(name="documents", hub=str(root), cache=str(cache)))["digest"]

    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    assert of_images(first) == of_images(first) == of_images(copy) == of_images(other_texts) != of_images(other_labels)
    assert of_texts(first) == of_texts(first) == of_texts(copy) == of_texts(other_labels) != of_texts(other_texts)


def test_columns_of_text_do_not_depend_on_their_chunks(tmp_path):
    texts = ["one", "", "three", None, "fünf"]
    whole = datasets.Dataset.from_dict({"text": texts})
    cut = datasets.concatenate_datasets([whole.select(range(2)), whole.select(range(2, 5))])
    config = DataConfig(name="documents", cache=str(tmp_path))
    digests = {contents.of_tables([table], ["text"], config)[0] for table in (whole, cut, cut.select([0, 1, 2, 3, 4]))}
    assert len(digests) == 1
    moved = datasets.Dataset.from_dict({"text": ["on", "e", "three", None, "fünf"]})
    assert contents.of_tables([moved], ["text"], config)[0] not in digests


@pytest.mark.parametrize("kind", ["wikitext103", "documents", "RTE"])
def test_texts_are_known_by_their_contents(tmp_path, cache, kind):
    names = {
        "wikitext103": ["train.txt", "valid.txt", "test.txt"],
        "documents": ["a.txt", "b/c.txt"],
        "RTE": ["train.tsv", "dev.tsv"],
    }[kind]

    def identity(root: Path) -> dict:
        config = DataConfig(name=kind, root=str(root), cache=str(cache), num_classes=2)
        if kind == "RTE":
            return glue.identity(config, kind)
        return documents.identity(config) if kind == "documents" else data.identity(config)

    for name in names:
        (tmp_path / "A" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "A" / name).write_text(f"the text {name}\n")
    first = identity(tmp_path / "A")
    assert first["digest_covers"] == "contents of all files in order"
    copy = Path(shutil.copytree(tmp_path / "A", tmp_path / "B"))
    assert identity(copy)["digest"] == first["digest"]
    change_a_byte(copy / names[-1])
    assert identity(copy)["digest"] != first["digest"]


def test_a_published_corpus_is_known_by_its_published_digests(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text("a damaged copy, which is refused when it is loaded\n")
    folder, hub = (
        data.identity(DataConfig(name="ptb", **place))
        for place in ({"root": str(tmp_path)}, {"hub": "ptb-text-only/x"})
    )
    assert folder["digest"] == hub["digest"]
