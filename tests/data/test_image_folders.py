"""Which files of a folder are images, and of which class: as torchvision's ImageFolder says, but for what is hidden."""

import os
import re
import shutil
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from experiments import data, tasks
from experiments.schema.compose import compose
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError


@pytest.fixture
def folder(photographs, tmp_path) -> Path:
    return shutil.copytree(photographs, tmp_path / "photographs")


def load(folder: Path, train_size: int = 12):
    return data.load(DataConfig("imagenet", num_classes=2, train_size=train_size, test_size=4, root=str(folder)))


def test_images_in_folders_within_a_class_in_capitals_and_behind_links_are_those_of_torchvision(folder):
    china, flower = folder / "train" / "china", folder / "train" / "flower"
    elsewhere = shutil.copytree(china, folder / "elsewhere")
    for name in ("b/c", "b-c", "B"):  # sorted one way as names and another as parts of paths
        (china / name).mkdir(parents=True)
        shutil.copy(flower / "00.png", china / name / "00.PNG")
    (china / "linked").symlink_to(elsewhere)
    (china / "07.png").symlink_to(flower / "01.png")
    (china / "folder.jpg").mkdir()
    shutil.copy(flower / "02.png", china / "folder.jpg" / "02.png")
    (china / "notes.txt").write_text("no image")
    theirs = ImageFolder(folder / "train")
    assert len(theirs) == 12 + 3 + 6 + 1 + 1
    ours = load(folder, len(theirs)).train
    found = [(str(ours.folder / os.fsdecode(path)), label) for path, label in zip(ours.paths, ours.labels, strict=True)]
    assert found == theirs.samples


@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir"])
def test_what_is_hidden_is_no_class_and_no_image(folder, name):
    before = load(folder).manifest()
    image = folder / "train" / "china" / "00.png"
    for place in (folder / "train", folder / "train" / "china"):  # beside the classes and in one of them
        (place / name).mkdir()
        shutil.copy(image, place / name / "00.png")
    for hidden in ("._00.png", ".00.png"):
        (folder / "train" / "china" / hidden).write_bytes(b"\0\5\x16\7")
        (folder / "train" / hidden).write_bytes(b"\0\5\x16\7")
    assert load(folder).manifest() == before


def test_a_file_beside_the_class_folders_is_no_class(folder):
    before = load(folder).manifest()
    (folder / "train" / "labels.txt").write_text("china flower")
    (folder / "train" / "cover.png").write_bytes(b"")
    assert load(folder).manifest() == before


def lead_nowhere(china: Path) -> Path:
    (china / "08.png").symlink_to(china / "gone.png")
    return china / "08.png"


def lead_to_itself(china: Path) -> Path:
    (china / "08.png").symlink_to(china / "08.png")
    return china / "08.png"


def lead_back(china: Path) -> Path:
    (china / "again").symlink_to(china.parent)
    return china / "again" / "china"


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (lead_nowhere, "No such file"),
        (lead_to_itself, "Too many levels of symbolic links"),
        (lead_back, "the link leads back to a folder that it lies in"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(folder, link, reason):
    path = link(folder / "train" / "china")
    with pytest.raises(UserError, match=rf"^cannot read the (image|folder) {path}: {reason}"):
        load(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another")
@pytest.mark.parametrize("exp", ["vit_small", "ptb_lstm_1", "bert_pretrain", "bert_glue task.name=RTE"])
def test_a_folder_that_may_not_be_entered_is_named_as_missing(folder, exp):
    [config] = compose([*f"exp={exp}".split(), "scale=paper", f"data.root={folder / 'train'}"])
    folder.chmod(0o700)
    os.seteuid(65534)
    try:
        assert re.search(rf"(cannot read|data\.root=) ?{folder}", tasks.missing(config))
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read_is_named(folder):
    closed = folder / "train" / "china"
    closed.chmod(0)
    try:
        with pytest.raises(UserError, match=rf"^cannot read the folder {closed}: Permission denied"):
            load(folder)
    finally:
        closed.chmod(0o755)
