"""Transformer-XL as a task: segments in order, every held-out target once, and memory that a stop does not lose."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.data.columns import NO_TARGET, held_out_pieces, segment
from experiments.launch import local, worker
from experiments.models.transformer_xl import Reading
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema import paths
from experiments.schema.compose import compose
from experiments.schema.config import RunConfig
from experiments.tasks.transformer_xl import TransformerXLTask
from experiments.training.task import Part

TINY = [
    *("exp=transformer_xl", "optim=adan", "precision=fp64", "launch.threads=1"),
    *("data.vocabulary=60", "data.train_size=3000", "data.valid_size=900", "data.test_size=800"),
    *("model.arguments.d_model=8", "model.arguments.heads=2", "model.arguments.d_head=4", "model.arguments.d_inner=8"),
    *("model.arguments.cutoffs=[20,40]", "segments.length=48", "segments.memory=48", "batch_size=36"),
    *("schedule.updates=12", "evaluation.every=5", "evaluation.batch_size=3", "checkpoint.every=3"),
    *("segments.long_length=20", "segments.long_memory=90", "segments.long_clamp=60"),
]  # six columns of 500 tokens: eleven segments, the last with 19 targets


def tiny(*more: str) -> RunConfig:
    given = {text.split("=")[0] for text in more}
    return compose([*(text for text in TINY if text.split("=")[0] not in given), *more])[0]


def train(folder: Path, *more: str) -> Path:
    path = RunDirectory.open_or_create(folder, tiny(*more)).path
    assert worker.run(path) == 0
    return path


@pytest.fixture(scope="module", autouse=True)
def results(tmp_path_factory):
    """Where records go, of this process and of others."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", folder)
        patch.setenv("ADAN_RESULTS", str(folder))
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """The directory of a run that nothing disturbed."""
    return train(tmp_path_factory.mktemp("straight"))


def test_a_pass_over_wikitext_103_has_the_11470_updates_of_the_logs():
    height = 103_227_021 // 60
    assert segment(1, height, 150) == segment(11_471, height, 150) == (0, 150)
    assert segment(11_470, height, 150) == (1_720_350, height - 1)


def test_segments_follow_one_another_down_every_column():
    task = TransformerXLTask(tiny(), Part(micro_batch=2))
    tokens = task.corpus.train.reshape(6, 500)
    read = {update: list(task.micro_batches(update)) for update in range(1, 12)}
    for update, batches in read.items():
        start = (update - 1) * 48
        assert (
            task.count(update) == sum(batch.targets.numel() for batch in batches) == (6 * 48 if update < 11 else 6 * 19)
        )
        for first, batch in zip((0, 2, 4), batches, strict=True):
            rows = tokens[first : first + 2]
            assert (batch.tokens.numpy() == rows[:, start : min(start + 48, 499)]).all()
            assert (batch.targets.numpy() == rows[:, start + 1 : start + 49]).all()
    assert sum(task.count(update) for update in read) == 6 * 499


def test_the_text_begins_again_without_memory():
    task = TransformerXLTask(tiny(), Part(micro_batch=3))
    befores = []
    for update in (*range(1, 12), 12, 13):
        for place, batch in enumerate(task.micro_batches(update)):
            befores.append(0 if batch.memory is None else batch.memory.shape[2])
            task.carry_on(place, task.loss(task.module, batch).carry)
    assert befores[::2] == befores[1::2] == [0, *[48] * 10, 0, 48]


def test_a_second_passage_over_an_update_sees_the_same_memory_and_leaves_it():
    task = TransformerXLTask(tiny(), Part(micro_batch=6))
    task.module.eval()
    for update in (1, 2):
        [batch] = task.micro_batches(update)
        first = task.loss(task.module, batch)
        task.carry_on(0, first.carry)
        assert torch.equal(task.loss(task.module, batch).sum, first.sum)
    _, expected = task.module(batch.tokens, batch.targets, batch.memory, task.reading)
    with torch.no_grad():
        task.module.embedding.weight.add_(0.1)  # as SAM does between its passages
    task.loss(task.module, batch)
    assert torch.equal(task.state()["memory"], expected)


@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("columns", [1, 2, 10, 200])
@pytest.mark.parametrize("ranks", [1, 3])
def test_every_target_of_a_held_out_text_counts_once(columns, ranks, length):
    tokens = np.arange(1000, 1101)
    seen = []
    for rank in range(ranks):
        for inputs, targets in held_out_pieces(tokens, columns, rank, ranks, length):
            assert len(targets) <= length
            counted = targets != NO_TARGET
            assert (inputs[counted] + 1 == targets[counted]).all()
            seen += targets[counted].tolist()
    assert sorted(seen) == list(range(1001, 1101))


def test_perplexity_does_not_depend_on_the_length_of_segments_when_memory_holds_the_text():
    task = TransformerXLTask(tiny("evaluation.batch_size=1"), Part(micro_batch=6))
    module, tokens = task.module.double().eval(), task.corpus.test
    whole = torch.from_numpy(tokens.astype(np.int64))[None]
    losses, _ = module(whole[:, :-1], whole[:, 1:], None, Reading(memory=0))
    expected = math.exp(losses.mean().item())
    for length in (7, 48, 798, 799):
        found = task._perplexity(module, tokens, length, Reading(memory=len(tokens)))
        assert found == pytest.approx(expected, rel=1e-12)


def test_ranks_share_the_columns_and_their_losses_add_up():
    whole = TransformerXLTask(tiny(), Part(micro_batch=6))
    parts = [TransformerXLTask(tiny(), Part(rank, 2, micro_batch=3)) for rank in range(2)]
    for update in (1, 2, 3):
        [batch] = whole.micro_batches(update)
        expected = whole.loss(whole.module.double().eval(), batch).sum
        shares = [
            part.loss(part.module.double().eval(), piece).sum for part in parts for piece in part.micro_batches(update)
        ]
        torch.testing.assert_close(sum(shares), expected)
    saved = whole.state()
    for part in parts:
        expected = part.state()["memory"]
        part.load(saved)
        torch.testing.assert_close(part.state()["memory"], expected)


def test_a_run_that_stopped_in_mid_text_ends_as_one_that_did_not(straight, tmp_path):
    stopped = train(tmp_path / "stopped", "stop_at=4")
    partial = json.loads((stopped / "record.json").read_text())
    assert (partial["status"], partial["progress"]["update"]) == ("partial", 4)
    assert train(tmp_path / "stopped") == stopped
    records = [json.loads((path / "record.json").read_text()) for path in (straight, stopped)]
    for key in ("status", "summary", "parameters_digest", "events", "progress"):
        assert records[0][key] == records[1][key]
    assert verify(straight) == verify(stopped) == []
    assert records[0]["progress"] == {"update": 12, "total_updates": 12, "epoch": 3, "total_epochs": 3}
    assert records[0]["updates"] == 50_000 and "epochs" not in records[0]
    kept = sorted(path.name[:15] for path in (straight / "checkpoints").glob("*.pt"))
    assert kept == ["update-00000009", "update-00000012"]


def test_memory_decides_what_follows(tmp_path):
    """The test above would pass if memory did nothing: here it is lost, and the run ends elsewhere."""
    path = train(tmp_path / "kept", "stop_at=4")
    [newest] = [file for file in (path / "checkpoints").glob("update-00000004*")]
    state = torch.load(newest, weights_only=True)
    assert state["task"]["memory"].shape == (2, 6, 48, 8) and state["task"]["memory"].dtype == torch.float64
    task = TransformerXLTask(tiny(), Part(micro_batch=6))
    task.module.double().eval().load_state_dict(state["module"])
    losses = []
    for memory in (state["task"], {"memory": None}):
        task.load(memory)
        [batch] = task.micro_batches(5)
        losses.append(task.loss(task.module, batch).sum.item())
    assert losses[0] != losses[1]


def test_events_and_summary_of_a_run(straight):
    events = [json.loads(line) for line in (straight / "events.jsonl").read_text().splitlines()]
    assert [event["update"] for event in events if event["kind"] == "evaluation"] == [5, 10, 12]
    summary = json.loads((straight / "record.json").read_text())["summary"]
    best = min((event for event in events if event["kind"] == "evaluation"), key=lambda event: event["val_ppl"])
    for name in ("test_ppl", "test_ppl_long_memory"):
        assert summary[name]["reported"] == "selected" and summary[name]["selected"] == best[name]


@pytest.mark.slow
def test_the_mini_model_learns_more_than_how_frequent_words_are(tmp_path):
    (config,) = compose(["exp=transformer_xl", "optim=adan"])
    path = RunDirectory.open_or_create(tmp_path / "mini", config).path
    assert worker.run(path) == 0
    record = json.loads((path / "record.json").read_text())
    corpus = TransformerXLTask(config, Part(micro_batch=10)).corpus
    frequency = np.bincount(corpus.train, minlength=corpus.vocabulary_size) / len(corpus.train)
    of_frequencies = math.exp(-np.log(frequency[corpus.test]).mean())
    assert float(record["summary"]["test_ppl"]["selected"]) < 0.8 * of_frequencies


@pytest.mark.slow
def test_two_ranks_do_what_one_does_and_one_goes_on_where_two_stopped(tmp_path):
    """Without dropout, whose streams differ by rank."""
    plain = ("model.drop=0.0",)
    one = train(tmp_path / "one", *plain)
    choices = (*plain, "launch.devices=2", "launch.device=cpu")
    two = RunDirectory.open_or_create(tmp_path / "two", tiny(*choices, "stop_at=7")).path
    assert local.train(two) == 0
    assert train(tmp_path / "two", *plain) == two
    ends = [json.loads((path / "record.json").read_text()) for path in (one, two)]
    for name, values in ends[0]["summary"].items():
        assert ends[1]["summary"][name]["last"] == pytest.approx(values["last"], rel=1e-9)
