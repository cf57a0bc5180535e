"""The LSTM task: what an update is, that splits and evaluation batches change nothing, and that resume is exact."""

import json
import math
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from experiments import tasks
from experiments.launch import worker
from experiments.models.awd_lstm import Output
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema import paths
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.epochs import of_run
from experiments.schema.errors import UserError
from experiments.training.task import Part

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "ptb.zip"
DROPOUTS = ("dropout", "dropout_hidden", "dropout_input", "dropout_words", "weight_drop")
SMALL = [
    *("exp=ptb_lstm_2", "optim=adam", "precision=fp64", "launch.threads=1"),
    *("data.train_size=2000", "data.valid_size=250", "data.test_size=301", "data.vocabulary=40"),
    *("schedule.epochs=2", "schedule.milestones=[1]", "bptt.length=25", "bptt.deviation=4", "global_batch_size=4"),
    *("model.arguments.embedding=8", "model.arguments.hidden=12", "evaluation.batch_size=3"),
]
PLAIN = [f"model.arguments.{name}=0.0" for name in DROPOUTS]


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where records go, of this process and of others."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("ADAN_RESULTS", str(tmp_path / "results"))


def small(*more: str):
    given = {text.split("=")[0] for text in more}
    (config,) = compose([*(text for text in SMALL if text.split("=")[0] not in given), *more])
    check(config)
    return config


def build(config, micro_batch=4, rank=0, world_size=1):
    task = tasks.build(config, Part(rank, world_size, micro_batch))
    task.module.double()
    return task


def summed(config, updates, micro_batch=4, world_size=1):
    """Loss and gradients of updates 1, 2, ... with the parameters as they began, over ranks that share a process."""
    ranks = [build(config, micro_batch, rank, world_size) for rank in range(world_size)]
    found = []
    for update in range(1, updates + 1):
        total = torch.zeros((), dtype=torch.float64)
        for task in ranks:
            task.module.zero_grad()
            for piece in list(task.micro_batches(update)):
                loss = task.loss(task.module, piece).sum
                loss.backward()
                total += loss.detach()
        gradients = [
            sum(parameters) / ranks[0].count(update)
            for parameters in zip(*([p.grad for p in task.module.parameters()] for task in ranks), strict=True)
        ]
        found.append((total / ranks[0].count(update), gradients))
    return found


@pytest.mark.parametrize(("micro_batch", "world_size"), [(1, 1), (2, 1), (2, 2), (1, 4)])
def test_any_split_of_the_columns_gives_the_same_updates_with_the_state_carried(micro_batch, world_size):
    config = small(*PLAIN)
    torch.testing.assert_close(summed(config, 4, micro_batch, world_size), summed(config, 4), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("micro_batch", "world_size"), [(1, 1), (2, 2)])
def test_words_and_recurrent_weights_drop_out_once_for_all_columns_of_an_update(micro_batch, world_size):
    config = small(*PLAIN[:3], "model.arguments.dropout_words=0.5", "model.arguments.weight_drop=0.5")
    whole = summed(config, 4)
    torch.testing.assert_close(summed(config, 4, micro_batch, world_size), whole, rtol=1e-10, atol=1e-12)
    first, second = (next(iter(build(config).micro_batches(update))).dropped for update in (1, 2))
    assert not torch.equal(first.words, second.words), "another choice for every update"


def test_the_loss_is_the_released_one():
    config = small(*PLAIN, "loss.activation=2.0", "loss.slowness=1.0")
    task = build(config)
    carry = task.module.carry(4)
    for update in range(1, 4):
        (piece,) = task.micro_batches(update)
        output = task.module(piece.tokens, carry)
        carry = output.carry
        raw = F.cross_entropy(output.logits.flatten(0, 1), piece.targets.flatten())
        ar, tar = output.dropped.pow(2).mean(), (output.raw[1:] - output.raw[:-1]).pow(2).mean()
        expected = raw + 2.0 * ar + 1.0 * tar
        loss = task.loss(task.module, piece)
        task.carry_on(0, loss.carry)
        torch.testing.assert_close(loss.sum / task.count(update), expected)
        assert task.count(update) == piece.targets.numel()


def test_an_epoch_reads_every_column_once_from_its_beginning():
    config = small(*PLAIN)
    task, epochs = build(config), of_run(config)
    text = task.corpus.train.reshape(4, 500).T
    for first, last in ((1, epochs.ends[0]), (epochs.ends[0] + 1, epochs.ends[1])):
        pieces = []
        for update in range(first, last + 1):
            (piece,) = task.micro_batches(update)
            assert all(not hidden.any() and not cell.any() for hidden, cell in piece.carry) == (update == first)
            task.carry_on(0, task.loss(task.module, piece).carry)
            pieces.append(piece)
        assert torch.cat([piece.tokens for piece in pieces]).tolist() == text[:-1].tolist()
        assert torch.cat([piece.targets for piece in pieces]).tolist() == text[1:].tolist()


@pytest.mark.parametrize("columns", [1, 3, 10, 250])
@pytest.mark.parametrize("world_size", [1, 3])
def test_a_perplexity_counts_every_target_once_whatever_the_batch_and_the_ranks(columns, world_size, monkeypatch):
    config = small(f"evaluation.batch_size={columns}")
    table = torch.randn(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    class Bigrams(torch.nn.Module):  # no memory, so that columns must not matter
        def forward(self, tokens, carry):
            return Output(table[tokens], carry, tokens, tokens)

    sums = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: sums.append(total.item()))
    for rank in range(world_size):
        task = tasks.build(config, Part(rank, 1, 4))
        task.part = Part(rank, world_size, 4)
        task.evaluate(Bigrams())
    log_probability = table.log_softmax(1)
    for name, text in (("valid", task.corpus.valid), ("test", task.corpus.test)):
        expected = -sum(log_probability[first, second].item() for first, second in pairwise(text.tolist()))
        assert sum(sums[("valid", "test").index(name) :: 2]) == pytest.approx(expected, rel=1e-12)


def test_one_column_is_the_whole_text_read_at_once_and_more_columns_forget_where_they_begin():
    task = build(small("evaluation.batch_size=1"))
    text = torch.from_numpy(task.corpus.test).long()[:, None]
    task.module.eval()
    logits = task.module(text[:-1], task.module.carry(1)).logits
    expected = math.exp(F.cross_entropy(logits.flatten(0, 1), text[1:].flatten()).detach())
    task.module.train()
    assert task.evaluate(task.module)["test_ppl"] == pytest.approx(expected, rel=1e-12)
    assert task.module.training
    task.config = replace(task.config, evaluation=replace(task.config.evaluation, batch_size=50))
    assert task.evaluate(task.module)["test_ppl"] != pytest.approx(expected, rel=1e-6)


def trained(folder: Path, *more: str) -> dict:
    """The record of a run in one piece; of `stop_at` points, in several, the last to its end."""
    for stop_at in [*(text for text in more if text.startswith("stop_at=")), None]:
        choices = [text for text in more if not text.startswith("stop_at=")] + [stop_at] * bool(stop_at)
        directory = RunDirectory.open_or_create(folder, small(*choices))
        assert worker.run(directory.path) == 0
        assert verify(directory.path) == []
    record = json.loads((directory.path / "record.json").read_text())
    assert record["status"] == "finished"
    return record


@pytest.mark.parametrize(
    "choices",
    [(), ("optim=sgd", "optim.lr=5.0", "optim.asgd_after=1", "launch.micro_batch=2", "schedule.epochs=3")],
    ids=["adam", "sgd that switches, micro-batches"],
)
def test_a_run_that_stopped_within_an_epoch_ends_bit_for_bit_like_one_that_did_not(tmp_path, results, choices):
    expected = trained(tmp_path / "whole", *choices)
    found = trained(tmp_path / "pieces", *choices, "stop_at=7updates", "stop_at=1epoch", "stop_at=40updates")
    for key in ("parameters_digest", "events", "summary", "progress"):
        assert found[key] == expected[key]
    assert expected["summary"]["test_ppl"]["selected"] is not None
    assert expected["summary"]["test_ppl_selected_on_test"]["best"] == expected["summary"]["test_ppl"]["best"]


def test_the_carry_is_saved_for_all_columns_and_each_rank_takes_its_own():
    config = small(*PLAIN)
    task = build(config)
    for update in (1, 2, 3):
        for place, piece in enumerate(task.micro_batches(update)):
            task.carry_on(place, task.loss(task.module, piece).carry)
    state = task.state()
    assert state["carry"][0][0].any()
    assert state["carry"][0][0].shape == (1, 4, 12) and state["carry"][1][0].shape == (1, 4, 8)
    for rank in (0, 1):
        part = build(config, 1, rank, world_size=2)
        part.load(state)
        for place, piece in enumerate(part.micro_batches(4)):
            column = 2 * rank + place
            for (hidden, cell), (all_hidden, all_cell) in zip(piece.carry, state["carry"], strict=True):
                assert torch.equal(hidden, all_hidden[:, column : column + 1])
                assert torch.equal(cell, all_cell[:, column : column + 1])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["data.train_size=3"], "larger than an epoch of .* targets in each column of movie_reviews"),
        (["bptt.length=0"], r"bptt\.length=0 .command line.: must be at least 1"),
        (["metrics.test_ppl.selected_by=val_pp"], "metrics.test_ppl.selected_by=val_pp .*did you mean 'val_ppl'"),
        (["stop_at=9"], "stop_at=9 .*after 2 epochs"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(choices, message):
    with pytest.raises(UserError, match=message):
        small(*choices)


def test_text_and_images_are_not_mixed_up():
    for choices, message in (
        (["exp=ptb_lstm_2", "data=mnist"], "data=mnist .*no text, but ptb_lstm_2 reads text; did you mean ptb"),
        (["exp=vit_small", "data=ptb"], "data=ptb .*a text, but vit_small reads images; did you mean imagenet"),
    ):
        with pytest.raises(UserError, match=message):
            check(compose(choices)[0])


def test_another_model_is_refused():
    config = small()
    with pytest.raises(UserError, match="this task trains an awd_lstm"):
        build(replace(config, model=replace(config.model, name="resnet18", arguments={})))


def test_real_penn_treebank_begins_at_the_perplexity_of_knowing_nothing(tmp_path):
    if not REAL.is_file():
        pytest.skip("no ptb.zip in ../shared/data")
    with zipfile.ZipFile(REAL) as archive:
        archive.extractall(tmp_path)
    (config,) = compose(["exp=ptb_lstm_1", "optim=adam", "scale=paper", f"data.root={tmp_path}"])
    check(config)
    task = tasks.build(config, Part(micro_batch=20))
    assert sum(parameter.numel() for parameter in task.module.parameters()) == 5_293_200
    assert task.columns.shape == (46479, 20)
    (piece,) = task.micro_batches(1)
    loss = task.loss(task.module, piece).sum.item() / task.count(1)
    assert loss == pytest.approx(math.log(10000), abs=0.2)


@pytest.mark.slow
def test_two_processes_train_and_evaluate_like_one(tmp_path, results):
    from experiments.launch import local

    events = []
    for devices in (1, 2):
        config = small(*PLAIN, f"launch.devices={devices}", "stop_at=30updates")
        directory = RunDirectory.open_or_create(tmp_path / str(devices), config)
        assert local.train(directory.path) == 0
        lines = directory.events_path.read_text().splitlines()
        events.append([event for event in map(json.loads, lines) if event["kind"] in ("train", "evaluation")])
    assert len(events[0]) == len(events[1]) > 0
    for one, two in zip(*events, strict=True):
        values = [[event[key] for key in sorted(one) if isinstance(one[key], float)] for event in (one, two)]
        np.testing.assert_allclose(*values, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("optim", ["adan", "adam", "sgd"])
def test_at_mini_scale_it_learns_more_than_how_often_words_occur(tmp_path, results, optim):
    (config,) = compose(["exp=ptb_lstm_1", f"optim={optim}"])
    directory = RunDirectory.open_or_create(tmp_path, config)
    assert worker.run(directory.path) == 0
    corpus = tasks.build(config, Part(micro_batch=20)).corpus
    shares = (np.bincount(corpus.train, minlength=len(corpus.words)) + 1) / (len(corpus.train) + len(corpus.words))
    unigrams = math.exp(-np.log(shares[corpus.test]).mean())
    record = json.loads((directory.path / "record.json").read_text())
    assert record["summary"]["test_ppl"]["selected"] < unigrams / 2.5
