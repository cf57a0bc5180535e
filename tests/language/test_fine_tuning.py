"""From a pre-trained parent, or any checkpoint folder of transformers, to a task's metrics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import transformers
from scipy import stats
from sklearn import metrics

from experiments import tasks
from experiments.data import glue
from experiments.data.subwords import tokenizer
from experiments.launch import plan
from experiments.record.verify import verify
from experiments.schema.config import DataConfig
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.tasks.glue import Glue
from experiments.tasks.glue_metrics import in_percent
from experiments.training import parallel
from experiments.training.checkpoint import load_newest, parameters_digest
from experiments.training.task import Part

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "glue"


def _data(name: str, **values) -> DataConfig:
    """What a task's recipe says of its classes, and `values`."""
    return DataConfig("glue", num_classes=len(glue.task(name).classes) or 1, **values)


@pytest.fixture
def parent(pretraining, train):
    return train(pretraining())


def test_a_child_begins_with_its_parents_encoder_and_tokenizer(fine_tuning, parent):
    config = fine_tuning(f"parent={parent.path}")
    task = tasks.build(config, Part(micro_batch=16))
    theirs, _ = load_newest(parent.checkpoints)
    ours = task.module.state_dict()
    encoder = [name for name in ours if name.startswith("roberta.")]
    assert len(encoder) > 10
    for name in encoder:
        assert torch.equal(ours[name], theirs["module"][name]), name
    assert task.tokenizer.get_vocab_size() == 300
    assert task.manifest()["tokenizer"] != parent.record()["data"]["tokenizer"], "it cuts, which its parent's did not"
    assert max(len(ids) for ids, _ in task.encoded["train"]) == 32


def test_the_record_names_the_parent_and_its_weights(fine_tuning, parent, train):
    directory = train(fine_tuning(f"parent={parent.path}"))
    record = directory.record()
    assert verify(directory.path) == []
    inherited = record["config"]["inherited"]
    assert inherited["source"] == parent.name and inherited["weights"] == parent.record()["parameters_digest"]
    assert record["config"]["parent"] == "<local>"
    assert set(record["summary"]) == {"accuracy", "eval_loss"}
    assert 0 <= record["summary"]["accuracy"]["last"] <= 100


def test_two_parents_give_two_runs_and_places_do_not_count(fine_tuning, pretraining, train, parent, tmp_path):
    other = train(pretraining("seed=1"))
    first, second = (config_digest(fine_tuning(f"parent={run.path}")) for run in (parent, other))
    assert first != second
    parent.path.rename(tmp_path / "moved")
    assert config_digest(fine_tuning(f"parent={tmp_path / 'moved'}")) == first
    assert config_digest(fine_tuning(f"parent={tmp_path / 'moved' / 'record.json'}")) == first


def test_damaged_weights_of_a_parent_are_not_taken(fine_tuning, parent):
    config = fine_tuning(f"parent={parent.path}")
    config.inherited.weights = "0" * 64
    with pytest.raises(UserError, match="it has not the weights that the record of its run names"):
        tasks.build(config, Part(micro_batch=16))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, documents) -> Path:
    """A tiny BERT, another architecture than ours, as transformers saves it."""
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=300, max_position_embeddings=40, **sizes)
    torch.manual_seed(0)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.train(documents, 300), pad_token="<pad>", mask_token="<mask>"
    )
    fast.save_pretrained(folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"position_embedding_type": "absolute"}))  # as of old
    return folder


def test_any_checkpoint_folder_can_be_fine_tuned(fine_tuning, checkpoint, train):
    config = fine_tuning(f"init={checkpoint}")
    assert config.model.arguments["model_type"] == "bert" and config.overrides[-1] == f"init={checkpoint.name}"
    task = Glue(config, Part(micro_batch=16))
    from safetensors.torch import load_file

    weights = load_file(checkpoint / "model.safetensors")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(task.module.state_dict()[name], weights[name])
    assert "token_type_ids" in next(task.micro_batches(1)).inputs
    assert plan.make(config).n_parameters == sum(parameter.numel() for parameter in task.module.parameters())
    again = Glue(config, Part(micro_batch=16))
    assert parameters_digest(again.module) == parameters_digest(task.module), "the new head is drawn from the seed"
    assert train(config).record()["config"]["init"] == "<local>"


def test_dropouts_are_the_recipes_or_the_command_lines_and_all_else_the_checkpoints(fine_tuning, checkpoint, tmp_path):
    module = Glue(fine_tuning(f"init={checkpoint}"), Part(micro_batch=16)).module
    assert (module.config.hidden_dropout_prob, module.config.classifier_dropout) == (0.0, 0.0), "0.1 in the checkpoint"
    config = fine_tuning(f"init={checkpoint}", "model.arguments.hidden_dropout_prob=0.3")
    assert Glue(config, Part(micro_batch=16)).module.bert.encoder.layer[0].output.dropout.p == 0.3
    with pytest.raises(UserError, match=r"model.arguments.hidden_size .command line.: init=.* says what its model is"):
        fine_tuning(f"init={checkpoint}", "model.arguments.hidden_size=32")
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"init=.* .command line.: config.json cannot be read"):
        fine_tuning(f"init={tmp_path}")


def test_a_checkpoint_that_does_not_fit_is_refused(fine_tuning, checkpoint, documents, tmp_path: Path):
    """Each of these would train, or die in the midst of it: with random weights, on no words, beyond the tables."""

    def refused(message: str, *choices: str, **changed: int) -> None:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        described = json.loads((checkpoint / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(described | changed))
        shutil.copy(checkpoint / "model.safetensors", folder)
        with pytest.raises(UserError, match=message):
            Glue(fine_tuning(f"init={folder}", *choices), Part(micro_batch=16))

    own = f"text.tokenizer={checkpoint}"
    refused("text.tokenizer=.*: no folder with a tokenizer; give text.tokenizer=FOLDER of the model's own")
    refused("has no bert.embeddings.position_embeddings.weight of the shape", own, max_position_embeddings=80)
    refused("text.sequence_length=41: the model has 40 positions; did you mean .*=40", own, "text.sequence_length=41")
    larger = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.train(documents, 310))
    larger.save_pretrained(tmp_path / "larger")
    refused("the tokenizer has 310 entries, but the model 300 words", f"text.tokenizer={tmp_path / 'larger'}")


def test_positions_of_a_parent_count_from_its_padding(fine_tuning, parent):
    with pytest.raises(UserError, match=r"text\.sequence_length=33: the model has 32 positions"):
        tasks.build(fine_tuning(f"parent={parent.path}", "text.sequence_length=33"), Part(micro_batch=16))


def test_a_checkpoint_without_a_padding_token_can_be_fine_tuned(fine_tuning, checkpoint, tmp_path: Path):
    sizes = {"vocab_size": 300, "n_positions": 40, "n_embd": 16, "n_layer": 1, "n_head": 2}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=2)
    assert config.pad_token_id is None
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    task = Glue(fine_tuning(f"init={tmp_path}", f"text.tokenizer={checkpoint}"), Part(micro_batch=16))
    (batch,) = task.micro_batches(1)
    assert task.loss(task.module, batch).sum.isfinite() and task.module.config.pad_token_id == 2


def test_the_same_weights_with_another_tokenizer_are_another_run(fine_tuning, checkpoint: Path, tmp_path: Path):
    import shutil

    other = tmp_path / checkpoint.name
    shutil.copytree(checkpoint, other)
    assert config_digest(fine_tuning(f"init={other}")) == config_digest(fine_tuning(f"init={checkpoint}"))
    described = other / "tokenizer.json"
    described.write_text(described.read_text() + " ")
    assert config_digest(fine_tuning(f"init={other}")) != config_digest(fine_tuning(f"init={checkpoint}"))


@pytest.mark.parametrize(("world_size", "micro_batch"), [(1, 2), (2, 8)])
def test_loss_and_metrics_do_not_depend_on_the_split(fine_tuning, checkpoint, world_size, micro_batch):
    config = fine_tuning(f"init={checkpoint}", "precision=fp64")
    whole = Glue(config, Part(micro_batch=16))
    whole.module.double().eval()
    parts = [Glue(config, Part(rank, world_size, micro_batch)) for rank in range(world_size)]
    (expected,) = (whole.loss(whole.module, batch).sum for batch in whole.micro_batches(2))
    found = [part.loss(whole.module, batch).sum for part in parts for batch in part.micro_batches(2)]
    assert len(found) == 16 // micro_batch
    assert sum(loss.item() for loss in found) == pytest.approx(expected.item(), rel=1e-12)


def test_every_held_out_sample_is_predicted_once_whatever_the_ranks(fine_tuning, checkpoint, monkeypatch):
    config = fine_tuning(f"init={checkpoint}", "precision=fp64", "evaluation.batch_size=3")
    sums: list[np.ndarray] = []
    monkeypatch.setattr(parallel, "sum_on_device", lambda values: sums.append(values.numpy().copy()) or values)
    for rank, world_size in ((0, 1), (0, 3), (1, 3), (2, 3)):
        task = Glue(config, Part(rank, world_size, micro_batch=1))
        with torch.no_grad():  # always says 1
            task.module.classifier.bias.copy_(torch.tensor([0.0, 9.0]))
        task.evaluate(task.module.double())
    whole, *parts = sums
    assert whole[:-1].tolist() == [1.0] * 20
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_a_run_that_stopped_ends_like_one_that_did_not(fine_tuning, checkpoint, train, runs):
    ends = []
    for name, stops in (("whole", [None]), ("pieces", ["stop_at=4", None])):
        for stop in stops:
            directory = train(fine_tuning(f"init={checkpoint}", *[stop] * bool(stop)))
        assert verify(directory.path) == []
        ends.append(directory.record())
        directory.path.rename(runs.with_name(name))
    for key in ("summary", "events", "parameters_digest"):
        assert ends[0][key] == ends[1][key]


def test_metrics_are_those_of_glue():
    labels, predictions = np.array([1.0, 1, 0, 0, 1, 0]), np.array([1.0, 0, 0, 1, 1, 0])
    assert in_percent("accuracy", labels, predictions) == pytest.approx(100 * 4 / 6)
    assert in_percent("f1", labels, predictions) == pytest.approx(100 * 2 / 3)  # precision 2/3, recall 2/3
    # Matthews: (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)) with 2, 2, 1, 1
    assert in_percent("matthews_corr", labels, predictions) == pytest.approx(100 * (4 - 1) / 9)
    assert in_percent("matthews_corr", labels, predictions) == 100 * metrics.matthews_corrcoef(labels, predictions)
    scores, told = np.array([0.0, 0.2, 0.6, 1.0]), np.array([0.1, 0.0, 0.9, 0.8])
    centred = (scores - scores.mean()) @ (told - told.mean())
    pearson = centred / np.sqrt(((scores - scores.mean()) ** 2).sum() * ((told - told.mean()) ** 2).sum())
    assert in_percent("pearson", scores, told) == pytest.approx(100 * pearson)
    assert in_percent("spearman", scores, told) == pytest.approx(100 * stats.spearmanr(scores, told).statistic)
    assert in_percent("spearman", scores, told) == pytest.approx(60.0)  # 1 - 6 (1 + 1 + 1 + 1) / (4 (16 - 1))
    assert in_percent("pearson", scores, np.ones(4)) == 0.0


ROWS = {
    "CoLA": (["gj04\t1\t\tIt works.", 'gj04\t0\t*\tWork"s it.'], [1, 0]),
    "RTE": (["index\tsentence1\tsentence2\tlabel", "0\tA.\tB.\tnot_entailment", "1\tC.\tD.\tentailment"], [1, 0]),
    "STS-B": (["index\tsentence1\tsentence2\tscore", "0\tA.\tB.\t3.800", "1\tC.\tD.\t0.000"], [0.76, 0]),
    "QQP": (["id\tquestion1\tquestion2\tis_duplicate", "0\tA?\tB?\t1", "1\tC?\tD?", "2\tE?\tF?\t0"], [1, 0]),
    "MNLI": (
        ["index\tsentence1\tsentence2\tlabel1\tgold_label", "0\tA.\tB.\tx\tneutral", "1\tC.\tD.\tx\tcontradiction"],
        [1, 2],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_official_files_are_read(tmp_path: Path, name):
    lines, labels = ROWS[name]
    folder = tmp_path / name
    folder.mkdir()
    files = ["train", "dev_matched", "dev_mismatched"] if name == "MNLI" else ["train", "dev"]
    for file in files:
        (folder / f"{file}.tsv").write_text("\n".join(lines))
    held_out = 2 * (len(files) - 1)
    data = glue.load(_data(name, root=str(tmp_path), train_size=2, test_size=held_out), name)
    assert data.train.labels.tolist() == labels
    assert set(data.held_out) == ({"matched", "mismatched"} if name == "MNLI" else {"held_out"})
    assert data.incomplete == (2 if name == "QQP" else 0)
    assert data.train.texts[1] == {"CoLA": ('Work"s it.',), "QQP": ("E?", "F?")}.get(name, ("C.", "D."))


TABLES = {
    "RTE": ("rte", {"sentence1": ["A.", "C."], "sentence2": ["B.", "D."], "label": [1, 0]}, [1, 0]),
    "STS-B": ("stsb", {"sentence1": ["A.", "C."], "sentence2": ["B.", "D."], "label": [3.8, 0.0]}, [0.76, 0]),
    "MNLI": ("mnli", {"premise": ["A.", "C."], "hypothesis": ["B.", "D."], "label": [1, 2]}, [1, 2]),
    "SST-2": ("sst2", {"sentence": ["A.", "C."], "label": [1, 0]}, [1, 0]),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_hubs_tables_are_read(tmp_path: Path, name):
    """A folder with the configurations, splits and columns of nyu-mll/glue, whose test sets have no labels."""
    configuration, columns, labels = TABLES[name]
    held_out = ["validation_matched", "validation_mismatched"] if name == "MNLI" else ["validation"]
    files = [{"split": split, "path": f"{configuration}/{split}.parquet"} for split in ("train", *held_out, "test")]
    (tmp_path / configuration).mkdir()
    for file in files:
        table = {**columns, **({"label": [-1, -1]} if file["split"] == "test" else {}), "idx": [0, 1]}
        datasets.Dataset.from_dict(table).to_parquet(tmp_path / file["path"])
    described = {"configs": [{"config_name": configuration, "data_files": files}, {"config_name": "other"}]}
    (tmp_path / "README.md").write_text(f"---\n{json.dumps(described)}\n---\n")
    place = {"hub": str(tmp_path), "cache": str(tmp_path / "cache")}
    sizes = {"train_size": 2, "test_size": 2 * len(held_out)}
    data = glue.load(_data(name, **place, **sizes), name)
    assert data.train.labels.tolist() == labels and data.train.texts[0] == (
        ("A.", "B.") if len(columns) > 2 else ("A.",)
    )
    assert set(data.held_out) == ({"matched", "mismatched"} if name == "MNLI" else {"held_out"})


@pytest.mark.parametrize(
    ("files", "sizes", "message"),
    [
        ({}, (1, 1), "has no train.tsv of RTE; it needs train.tsv, dev.tsv"),
        ({"train": "a\tb\n", "dev": "a\tb\n"}, (1, 1), "train.tsv has no column 'sentence1'"),
        (
            {"train": "sentence1\tsentence2\tlabel\nA\tB\tyes\n", "dev": ""},
            (1, 1),
            "train.tsv, line 2: label 'yes', expected one of entail",
        ),
        ({"train": "", "dev": ""}, (1, 1), "train.tsv has no column 'sentence1'"),
        (
            {"train": "sentence1\tsentence2\tlabel\nA\tB\tentailment\nA\rB\tC\tentailment\n", "dev": ""},
            (1, 1),
            r"train.tsv, line 3: no row of a TSV file: new-line character",
        ),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, files, sizes, message):
    for name, content in files.items():
        (tmp_path / f"{name}.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
        glue.load(_data("RTE", root=str(tmp_path), train_size=sizes[0], test_size=sizes[1]), "RTE")


@pytest.mark.parametrize("score", ["nan", "97.5", "-1", "inf"])
def test_scores_that_cannot_be_are_refused(tmp_path: Path, score):
    (tmp_path / "train.tsv").write_text(f"sentence1\tsentence2\tscore\nA\tB\t5.0\nA\tB\t{score}\n")
    (tmp_path / "dev.tsv").touch()
    with pytest.raises(UserError, match=f"train.tsv, line 3: label '{score}', expected a score from 0 to 5"):
        glue.load(_data("STS-B", root=str(tmp_path)), "STS-B")


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path: Path):
    rows = b"sentence1\tsentence2\tlabel\nA\tB\tentailment\nA\t\xe9\tentailment\n"
    (tmp_path / "train.tsv").write_bytes(rows)
    (tmp_path / "dev.tsv").write_bytes(b"")
    with pytest.raises(UserError, match=r"train\.tsv, line 3: no text in UTF-8, it has the byte 0xe9"):
        glue.load(_data("RTE", root=str(tmp_path)), "RTE")


def test_a_byte_order_mark_and_ends_of_lines_of_windows_change_nothing(tmp_path: Path):
    rows = b"sentence1\tsentence2\tlabel\nA\tB\tentailment\n"
    for place, train in (("plain", rows), ("windows", b"\xef\xbb\xbf" + rows.replace(b"\n", b"\r\n"))):
        (tmp_path / place).mkdir()
        for name in ("train", "dev"):
            (tmp_path / place / f"{name}.tsv").write_bytes(train)
    found = [
        glue.load(_data("RTE", root=str(tmp_path / place), train_size=1, test_size=1), "RTE").manifest()
        for place in ("plain", "windows")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", None, r"row 1 \(from 0\) of split validation of RTE in .*: label None, expected one of entailment"),
        ("label", -1, r"row 1 \(from 0\) of split validation of RTE in .*: label -1, expected one of entailment"),
        ("sentence2", None, r"row 1 \(from 0\) of split validation of RTE in .* has no sentence2"),
    ],
)
def test_a_row_of_the_hub_without_a_label_or_a_text_is_named(monkeypatch, column, value, message):
    whole = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0, 1]}
    splits = {"train": whole, "validation": {**whole, column: [whole[column][0], value]}}
    tables = {split: datasets.Dataset.from_dict(columns) for split, columns in splits.items()}
    monkeypatch.setattr(glue.hub, "tables", lambda *_: tables)
    config = _data("RTE", hub="nyu-mll/glue", train_size=2, test_size=2)
    with pytest.raises(UserError, match=message):
        glue.load(config, "RTE")


def test_another_number_of_classes_is_refused():
    with pytest.raises(UserError, match=r"data\.num_classes=2: MNLI has 3"):
        glue.missing(DataConfig("glue", num_classes=2), "MNLI")


def test_reviews_held_out_are_neither_trained_nor_pre_trained_on():
    from experiments.data.subwords.documents import load

    data = glue.load(_data("imdb_sentiment", train_size=20000, test_size=1000), "imdb_sentiment")
    read = {text.replace("\n", " ") for text in load(DataConfig("imdb_reviews")).read()}
    train, held_out = ({texts[0] for texts in split.texts} for split in (data.train, data.held_out["held_out"]))
    assert (len(train), len(held_out)) == (20000, 1000), "though IMDB holds some reviews twice"
    assert not held_out & (train | read) and len(read) > 23000
    with pytest.raises(UserError, match=r"data.train_size=3999, but .* holds 20000 samples of imdb_sentiment"):
        glue.load(_data("imdb_sentiment", train_size=3999, test_size=1000), "imdb_sentiment")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the official GLUE files are not here")
@pytest.mark.parametrize(
    ("name", "train", "dev"), [("CoLA", 8551, 1043), ("SST-2", 67349, 872), ("RTE", 2490, 277), ("STS-B", 5749, 1500)]
)
def test_official_counts(tmp_path: Path, name, train, dev):
    import zipfile

    zipfile.ZipFile(SHARED / f"{name}.zip").extractall(tmp_path)
    data = glue.load(_data(name, root=str(tmp_path), train_size=train, test_size=dev), name)
    assert data.incomplete == 0 and data.train.labels.min() >= 0 and data.train.labels.max() == 1


def test_mnli_is_evaluated_apart(fine_tuning, checkpoint, tmp_path: Path):
    header = "index\tsentence1\tsentence2\tgold_label"
    rows = {
        "train": ["entailment", "neutral", "contradiction"] * 8,
        "dev_matched": ["neutral"] * 3,
        "dev_mismatched": ["entailment", "neutral"] * 2,
    }
    for file, labels in rows.items():
        lines = [f"{n}\tA film {n}.\tA story.\t{label}" for n, label in enumerate(labels)]
        (tmp_path / f"{file}.tsv").write_text("\n".join([header, *lines]))
    config = fine_tuning(
        *(f"init={checkpoint}", "task.name=MNLI", f"data.root={tmp_path}", "data.train_size=24", "data.test_size=7"),
    )
    task = Glue(config, Part(micro_batch=16))
    with torch.no_grad():  # always says neutral
        task.module.classifier.weight.zero_()
        task.module.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    found = task.evaluate(task.module)
    assert (found["accuracy_matched"], found["accuracy_mismatched"]) == (100.0, 50.0)
    assert found["accuracy_both"] == pytest.approx(100 * 5 / 7)
    assert found["eval_loss_matched"] == pytest.approx(np.log(2 + np.e) - 1)


@pytest.mark.slow
def test_the_chain_from_the_command_line(tmp_path: Path):
    """Pre-train and fine-tune at mini scale as a user does, the second without naming the first: both learn."""
    import os
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    environment = os.environ | {"ADAN_RUNS": str(tmp_path / "runs"), "ADAN_RESULTS": str(tmp_path / "results")}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "run.py", *arguments]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)

    alone = run("exp=bert_glue", "optim=adan")
    assert alone.returncode == 2 and "give parent=RUN of `python run.py exp=bert_pretrain optim=adan" in alone.stderr
    assert run("exp=bert_pretrain", "optim=adan").returncode == 0
    child = run("exp=bert_glue", "optim=adan")
    assert child.returncode == 0, child.stderr
    records = {}
    for experiment in ("bert_pretrain", "bert_glue"):
        (record,) = (tmp_path / "results" / "records").glob(f"{experiment}-*/record.json")
        records[experiment] = json.loads(record.read_text())
    # Who knows only how frequent tokens are is right at 3 % of them, and who guesses at 50 +- 1.6 % of the reviews.
    assert records["bert_pretrain"]["summary"]["masked_accuracy"]["last"] > 5
    assert records["bert_glue"]["summary"]["accuracy"]["last"] > 60
    found = records["bert_glue"]
    assert found["config"]["inherited"]["source"].startswith("bert_pretrain-adan-mini")
