"""A prepared corpus that was damaged is prepared again, whichever of its files it was; what is sound is only read."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from experiments.data import subwords
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError
from experiments.schema.task_sections import TextConfig

TEXT = TextConfig(sequence_length=32, held_out_every=10)


@pytest.fixture
def config(corpus: Path, tmp_path: Path) -> DataConfig:
    return DataConfig("documents", root=str(corpus), cache=str(tmp_path / "cache"))


@pytest.fixture
def prepared(config: DataConfig, capsys) -> tuple[Path, dict]:
    """The folder of a sound corpus and what it should hold."""
    manifest = subwords.load(config, TEXT, 300).manifest
    capsys.readouterr()
    (folder,) = (Path(config.cache or "") / "corpora").iterdir()
    return folder, manifest


def rolled(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[2:] + content[:2])


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4 * 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def turned_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swapped(path: Path) -> None:
    other = "held_out" if path.name.startswith("train") else "train"
    shutil.copy(path.with_name(other + path.suffix) if path.suffix != ".json" else path.with_name("train.npy"), path)


@pytest.mark.parametrize("name", ["tokenizer.json", "train.tokens", "train.npy", "held_out.tokens", "manifest.json"])
@pytest.mark.parametrize("damage", [rolled, halved, emptied, swapped, Path.unlink])
def test_a_damaged_file_is_found_and_the_corpus_prepared_again(config, prepared, capsys, name, damage):
    folder, manifest = prepared
    sound = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}
    damage(folder / name)
    again = subwords.load(config, TEXT, 300)
    said = capsys.readouterr().out
    assert said.count("preparing") == 1
    if (name, damage) != ("manifest.json", Path.unlink):
        assert said.count(f"{folder} is not as it was prepared") == 1
    assert again.manifest == manifest
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"} == sound
    assert subwords.load(config, TEXT, 300).manifest == manifest and capsys.readouterr().out == ""


def test_a_number_of_the_manifest_that_was_altered_is_found(config, prepared, capsys):
    folder, manifest = prepared
    altered = json.loads((folder / "manifest.json").read_bytes())
    altered["train"]["tokens"] //= 2
    (folder / "manifest.json").write_text(json.dumps(altered))
    assert subwords.load(config, TEXT, 300).manifest == manifest
    assert "manifest.json was altered" in capsys.readouterr().out


def test_the_record_learns_the_digests_of_what_is_trained_on(config, prepared):
    folder, manifest = prepared
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["prepared"]}
    assert manifest["prepared"] == digests and len(digests) == 5


def test_a_corpus_of_a_time_without_digests_is_prepared_again(config, prepared, capsys):
    folder, manifest = prepared
    old = {key: value for key, value in manifest.items() if key != "prepared"}
    (folder / "manifest.json").write_text(json.dumps(old))
    rolled(folder / "train.tokens")
    assert subwords.load(config, TEXT, 300).manifest == manifest
    assert "it is prepared again" in capsys.readouterr().out


def test_a_sound_corpus_is_read_where_nothing_can_be_written(config, prepared, capsys, monkeypatch):
    folder, manifest = prepared

    def refused(*_arguments, **_keywords):
        raise OSError(30, "Read-only file system", str(folder / "lock"))

    monkeypatch.setattr(subwords, "locked", refused)
    assert subwords.load(config, TEXT, 300).manifest == manifest
    rolled(folder / "train.npy")
    with pytest.raises(UserError, match=r"cannot be prepared in .*Read-only file system.*data.cache=FOLDER"):
        subwords.load(config, TEXT, 300)


def test_a_cache_that_is_a_file_or_holds_a_folder_for_a_file_is_refused_in_a_sentence(config, prepared, tmp_path):
    folder, _ = prepared
    turned_into_a_folder(folder / "train.tokens")
    with pytest.raises(UserError, match="cannot be prepared"):
        subwords.load(config, TEXT, 300)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be prepared"):
        subwords.load(DataConfig("documents", root=config.root, cache=str(tmp_path / "file")), TEXT, 300)


def test_two_that_find_the_damage_at_once_end_with_one_sound_corpus(config, prepared):
    folder, manifest = prepared
    before = subwords.load(config, TEXT, 300)
    tokens = np.array(before.train.tokens)
    (folder / "train.tokens").unlink()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: subwords.load(config, TEXT, 300), range(2)))
    assert all(one.manifest == manifest and (one.train.tokens == tokens).all() for one in both)
    assert (before.train.tokens == tokens).all(), "what is mapped stays what it was"
