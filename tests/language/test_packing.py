"""Documents become one stream of tokens, and the stream sequences: nothing lost, nothing repeated."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import transformers

from experiments.data import subwords
from experiments.data.passes import Passes, share
from experiments.data.subwords import tokenizer
from experiments.data.subwords.documents import load, sentences
from experiments.data.subwords.packing import PackedSequences, cut
from experiments.schema.config import DataConfig
from experiments.schema.errors import UserError
from experiments.schema.task_sections import TextConfig

TEXT = TextConfig(held_out_every=10)
BEGIN, PADDING, END = 0, 1, 2


@pytest.fixture(scope="module")
def prepared(corpus: Path, cache: Path) -> subwords.Corpus:
    return subwords.load(DataConfig("documents", root=str(corpus), cache=str(cache)), TEXT, 300)


def test_sentences_put_together_are_the_document():
    text = 'One. Two (really)! "Three?" asked 3.5 of\nus...  And\n\nmore'
    assert "".join(sentences(text)) == text
    assert sentences(text)[:3] == ["One.", " Two (really)!", ' "Three?"']


@pytest.mark.parametrize("length", [8, 32, 500])
def test_the_sequences_are_the_documents(prepared, documents, length):
    packed = PackedSequences(prepared.train, length, BEGIN, END, PADDING)
    rows = packed.rows(np.arange(len(packed)))
    read: list[int] = []
    for index, row in enumerate(rows):
        tokens = row[row != PADDING].tolist()
        assert len(tokens) <= length and tokens[0] == BEGIN and tokens[-1] == END
        inside = tokens[1:]
        ends_a_document = prepared.train.tokens[packed.bounds[index + 1] - 1] == END
        read += inside if ends_a_document else inside[:-1]
    texts = [text for number, text in enumerate(documents, 1) if number % 10]
    found = "".join(prepared.tokenizer.decode([token], skip_special_tokens=False) for token in read).split("</s>")
    assert found == [*texts, ""]


def test_a_sequence_holds_whole_sentences_as_many_as_fit():
    ends = np.array([4, 9, 12, 40, 41])  # the fourth is longer than a sequence
    assert cut(ends, 10).tolist() == [0, 9, 12, 22, 32, 41]
    assert cut(np.array([10, 20]), 10).tolist() == [0, 10, 20]
    assert cut(np.array([], dtype=np.int64), 10).tolist() == [0]


def test_every_tenth_document_is_held_out(prepared, documents):
    assert (prepared.train.documents, prepared.held_out.documents) == (108, 12)
    text = prepared.tokenizer.decode(prepared.held_out.tokens.tolist(), skip_special_tokens=False)
    assert text.split("</s>")[:2] == [documents[9], documents[19]]


def test_a_corpus_is_prepared_once_and_again_when_it_changes(tmp_path: Path, capsys):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"Film {n} was good."}) for n in range(40)))
    config = DataConfig("documents", root=str(tmp_path), cache=str(tmp_path / "cache"))
    first = subwords.load(config, TEXT, 270)
    again = subwords.load(config, TEXT, 270)
    assert capsys.readouterr().out.count("preparing") == 1
    assert again.manifest == first.manifest and (again.train.tokens == first.train.tokens).all()
    (tmp_path / "b.txt").write_text("Another one.\nOf two lines.\n\nAnd another.")
    assert subwords.load(config, TEXT, 270).manifest["train"]["documents"] == 38
    assert "preparing" in capsys.readouterr().out


def test_any_table_of_texts_gives_documents(tmp_path: Path):
    def found(**columns: list) -> list[str]:
        folder = tmp_path / "-".join(columns)
        folder.mkdir()
        datasets.Dataset.from_dict(columns).to_parquet(folder / "train.parquet")
        documents = load(DataConfig("documents", hub=str(folder), cache=str(tmp_path / "cache")))
        assert list(documents.read()) == list(documents.read())
        return list(documents.read())

    assert found(label=[0, 1, 2], text=["One. Two.", "  ", "Three."]) == ["One. Two.", "Three."]
    with pytest.raises(UserError, match=r"has .*words.*, but needs a split train with a column text"):
        found(words=["One."])


def test_the_same_text_makes_the_same_tokenizer(documents):
    first, second = tokenizer.train(documents, 300), tokenizer.train(iter(documents), 300)
    assert tokenizer.digest(first) == tokenizer.digest(second)
    assert first.encode("Good!", "Bad.").tokens[0] == "<s>" and first.get_vocab_size() == 300
    assert tokenizer.from_text(first.to_str()).encode("very long").ids == first.encode("very long").ids


def test_what_a_tokenizers_file_keeps_of_its_last_use_cuts_and_pads_nothing(documents, tmp_path: Path):
    used = tokenizer.train(documents, 300)
    used.enable_truncation(4)
    used.enable_padding(length=64)
    transformers.PreTrainedTokenizerFast(tokenizer_object=used).save_pretrained(tmp_path)
    fresh, loaded = tokenizer.train(documents, 300), tokenizer.load(str(tmp_path))
    assert [loaded.encode(text).ids for text in documents] == [fresh.encode(text).ids for text in documents]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no .txt or .jsonl file"),
        ({"a.jsonl": '{"text": "x"}\n{"words": 1}'}, "a.jsonl, line 2: expected a JSON object with a text 'text'"),
        (
            {"a.jsonl": '{"text": "x"}\n\n' + "[" * 100_000},
            "a.jsonl, line 3: expected a JSON object with a text 'text'",
        ),
        ({"a.jsonl": '{"text": "x"}\n{"text": null}'}, "a.jsonl, line 2: expected a JSON object with a text 'text'"),
        (
            {"a.jsonl": '{"text": "x"}\n{"text": "a \\ud83d b"}'},
            r"a.jsonl, line 2: \\ud83d is half of a surrogate pair and no character",
        ),
        ({"a.txt": b"One.\r\n\r\nCaf\xe9."}, "a.txt, line 3: no text in UTF-8, it has the byte 0xe9"),
        ({"a.jsonl": b'{"text": "x"}\n{"text": "\xed\xa0\xbd"}'}, "a.jsonl, line 2: no text in UTF-8, .* byte 0xed"),
        ({"a.txt": "Just one.\n\nDocument more."}, "has no document for held_out"),
        ({"a.txt": "\n\n".join(["Yes."] * 20)}, "has only 26. byte-pair entries, give model.arguments.vocab_size=26"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(tmp_path: Path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        subwords.load(DataConfig("documents", root=str(tmp_path), cache=str(tmp_path)), TEXT, 270)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'\xef\xbb\xbf{"text": "One."}\n\n  \n{"text": "Two \\ud83d\\ude00\\nlines."}\n\n'),
        ("A.JSONL", b'{"text": "One."}\r\n\r\n{"text": "Two \xf0\x9f\x98\x80\\nlines."}'),
        ("a.txt", b"\xef\xbb\xbfOne.\n\n\nTwo \xf0\x9f\x98\x80\nlines.\n"),
        ("A.TXT", b"One.\r\n\r\nTwo \xf0\x9f\x98\x80\r\nlines."),
        ("a.txt", b"One.\r\rTwo \xf0\x9f\x98\x80\rlines."),
    ],
)
def test_a_byte_order_mark_empty_lines_and_other_ends_of_lines_change_no_document(tmp_path: Path, name, content):
    (tmp_path / name).write_bytes(content)
    for hidden in ("._a.txt", ".ipynb_checkpoints/a.txt", "__MACOSX/a.jsonl"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\0\5\x16\7")
    documents = load(DataConfig("documents", root=str(tmp_path)))
    assert list(documents.read()) == ["One.", "Two \N{GRINNING FACE}\nlines."]


def test_a_row_without_a_text_is_named(tmp_path: Path):
    (tmp_path / "tables").mkdir()
    datasets.Dataset.from_dict({"text": ["One.", None]}).to_parquet(tmp_path / "tables" / "train.parquet")
    documents = load(DataConfig("documents", hub=str(tmp_path / "tables"), cache=str(tmp_path)))
    with pytest.raises(UserError, match=r"row 1 \(from 0\) of split train of data\.hub=.* has no text"):
        list(documents.read())


def test_a_place_to_read_from_is_asked_for():
    with pytest.raises(UserError, match=r"data.root=FOLDER of .txt files.* or data.hub=REPOSITORY"):
        load(DataConfig("documents"))


def test_every_pass_holds_every_sequence_once():
    passes = Passes(seed=3, size=10, batch_size=4)
    read = np.concatenate([passes.batch(update) for update in range(1, 11)])
    for number in range(4):
        assert sorted(read[10 * number : 10 * number + 10]) == list(range(10))
    assert not (read[:10] == read[10:20]).all()
    assert (Passes(3, 10, 4).batch(7) == read[24:28]).all(), "any update may be the first"
    parts = [part for rank in range(2) for part in share(read[:8], rank, 2, 2)]
    assert np.concatenate(parts).tolist() == read[:8].tolist() and len(parts) == 4
