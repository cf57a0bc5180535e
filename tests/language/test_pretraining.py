"""Masked language modelling as a task: what it counts, and that neither split, rank nor kill changes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from experiments.record.verify import verify
from experiments.schema.errors import UserError
from experiments.tasks.masked_language_modelling import MaskedLanguageModelling
from experiments.training import parallel
from experiments.training.checkpoint import load_newest
from experiments.training.task import Part

EXACT = [
    *("precision=fp64", "model.arguments.hidden_dropout_prob=0", "model.arguments.attention_probs_dropout_prob=0"),
    "text.mask_probability=0.15",
]


def task(config, rank: int = 0, world_size: int = 1, micro_batch: int = 8) -> MaskedLanguageModelling:
    made = MaskedLanguageModelling(config, Part(rank, world_size, micro_batch))
    made.module.double().train()
    return made


def total(parts: list[MaskedLanguageModelling], update: int) -> tuple[float, torch.Tensor, int]:
    """Sum of losses over all parts, its gradient by the embedding, and the number of targets that they saw."""
    summed, targets = torch.zeros((), dtype=torch.float64), 0
    gradient = torch.zeros_like(parts[0].module.roberta.embeddings.word_embeddings.weight)
    for part in parts:
        part.module.zero_grad()
        for batch in part.micro_batches(update):
            loss = part.loss(part.module, batch).sum
            loss.backward()
            summed, targets = summed + loss.detach(), targets + len(batch.targets)
        gradient += part.module.roberta.embeddings.word_embeddings.weight.grad
    return float(summed), gradient, targets


def test_the_loss_is_transformers_own_over_the_targets_alone(pretraining):
    made = task(pretraining(*EXACT))
    (batch,) = made.micro_batches(1)
    labels = torch.full_like(batch.input_ids, -100)
    labels.view(-1)[batch.places] = batch.targets
    theirs = super(type(made.module), made.module).forward(batch.input_ids, batch.attention_mask, labels=labels)
    ours = made.loss(made.module, batch).sum / len(batch.targets)
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-12)
    assert 0 < len(batch.targets) == made.count(1) < 0.2 * batch.input_ids.numel()


@pytest.mark.parametrize(("world_size", "micro_batch"), [(1, 2), (2, 4), (4, 1)])
def test_every_target_counts_once_whatever_the_split(pretraining, world_size, micro_batch):
    config = pretraining(*EXACT)
    whole, parts = task(config), [task(config, rank, world_size, micro_batch) for rank in range(world_size)]
    counts = set()
    for update in (1, 5):
        expected, expected_gradient, targets = total([whole], update)
        found, gradient, seen = total(parts, update)
        assert found == pytest.approx(expected, rel=1e-12)
        assert (gradient - expected_gradient).abs().max() < 1e-12
        assert {part.count(update) for part in parts} == {targets} == {seen} == {whole.count(update)}
        counts.add(targets)
    assert len(counts) == 2, "batches of this corpus differ in their targets"


def test_held_out_documents_are_evaluated_alike_whatever_the_batch(pretraining):
    config = pretraining(*EXACT)
    expected = task(config).evaluate(task(config).module)
    assert set(expected) == {"val_loss", "val_ppl", "masked_accuracy"}
    assert expected["val_ppl"] == pytest.approx(np.exp(expected["val_loss"]))
    other = task(pretraining(*EXACT, "evaluation.batch_size=3"))
    assert other.evaluate(task(config).module) == pytest.approx(expected, rel=1e-12)


def test_every_held_out_target_counts_once_whatever_the_ranks(pretraining, monkeypatch):
    sums: list[np.ndarray] = []
    monkeypatch.setattr(parallel, "sum_on_device", lambda values: sums.append(values.numpy().copy()) or values)
    config = pretraining(*EXACT)
    for rank, world_size in ((0, 1), (0, 3), (1, 3), (2, 3)):
        made = task(config, rank, world_size)
        made.evaluate(made.module)
    whole, *parts = sums
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_a_run_that_was_stopped_seals_to_the_same_events(pretraining, train):
    straight = train(pretraining("seed=1"))
    first = train(pretraining("seed=2", "stop_at=4"))  # amid the second stretch between evaluations
    assert first.record()["status"] == "partial"
    again = train(pretraining("seed=2"))
    assert again.path == first.path and verify(again.path) == []
    again.path.rename(again.path.with_name("resumed"))
    whole = train(pretraining("seed=2"))
    records = [json.loads((path / "record.json").read_text()) for path in (again.path.with_name("resumed"), whole.path)]
    for key in ("summary", "events", "parameters_digest", "config_digest"):
        assert records[0][key] == records[1][key]
    assert records[0]["parameters_digest"] != straight.record()["parameters_digest"]
    losses = [event["loss"] for event in events(whole) if event["kind"] == "train"]
    assert len(losses) == 2 and all(np.isfinite(losses))


def events(directory) -> list[dict]:
    return [json.loads(line) for line in directory.events_path.read_text().splitlines()]


def test_a_checkpoint_holds_the_tokenizer_and_refuses_another(pretraining, train):
    directory = train(pretraining())
    state, _ = load_newest(directory.checkpoints)
    made = task(pretraining())
    assert json.loads(state["task"]["tokenizer"])["model"]["type"] == "BPE"
    made.load(state["task"])
    with pytest.raises(UserError, match="begun with another tokenizer"):
        made.load({"tokenizer": "{}"})
    tokenizer = directory.record()["data"]["tokenizer"]
    assert tokenizer["trained_here"] and len(tokenizer["digest"]) == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("text.sequence_length=40", "text.sequence_length=40: the model has 32 positions"),
        ("model.arguments.num_attention_heads=3", "do not suit RobertaForMaskedLM"),
        ("+model.arguments.hiden_size=8", "a roberta model has no such argument; did you mean 'hidden_size'"),
    ],
)
def test_a_model_that_cannot_be_is_refused(pretraining, override, message):
    with pytest.raises(UserError, match=message):
        task(pretraining(override))
