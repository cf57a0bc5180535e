"""What stops a run and what does not: a loss that is no number, a gradient that overflows in fp16."""

from __future__ import annotations

import json

import torch
from killing import train_in_child

from experiments import tasks
from experiments.record.run_directory import RunDirectory
from experiments.record.verify import verify
from experiments.schema.batches import micro_batch
from experiments.training.interruption import Interruption
from experiments.training.loop import Run
from experiments.training.task import Part

TINY = ["model.arguments.depth=1", "model.arguments.embed_dim=16"]


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(begin):
    rates = ["optim=sgd", "optim.lr=1e30", "schedule.warmup_lr=0"]  # the first epoch at 0, the second at 1e30
    path = begin("diverged", *TINY, *rates)
    assert train_in_child(path) == 1
    notes = [json.loads(line) for line in (path / "timing.jsonl").read_text().splitlines()]
    [message] = [note["message"] for note in notes if note["kind"] == "non_finite_loss"]
    assert "at update 13, learning rate 5e+29; first non-finite gradients in parameter group 0 (" in message
    assert [file.name[:15] for file in (path / "checkpoints").iterdir()] == ["update-00000011"]
    record = json.loads((path / "record.json").read_text())
    assert (record["status"], record["progress"]["update"], verify(path)) == ("diverged", 12, [])
    events = [json.loads(line)["kind"] for line in (path / "events.jsonl").read_text().splitlines()]
    assert events == ["begin", "train", "evaluation"]
    assert train_in_child(path) == 1, "the same command goes on from the checkpoint and ends in the same way"
    assert json.loads((path / "record.json").read_text()) == record


def test_a_step_that_the_fp16_scaler_skips_counts_as_an_update_but_not_for_the_optimizer(begin):
    directory = RunDirectory(begin("overflow", *TINY, "optim=adan", "precision=fp16", "batch_size=2048"))
    config = directory.config()
    part = Part(micro_batch=micro_batch(config, 1))
    with Interruption() as interruption, directory.hold():
        run = Run([(config, directory)], tasks.build(config, part), part)
        (player,) = run.players.values()
        player.scaler = player.step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**34)
        run.resume()
        before = {name: value.clone() for name, value in run.task.module.state_dict().items()}
        assert run.perform(interruption, until=1)
        assert all(torch.equal(before[name], value) for name, value in run.task.module.state_dict().items())
        assert not player.optimizer.state
        assert run.perform(interruption, until=30)
        run.journal.close()
    steps = {int(state["step"]) for state in player.optimizer.state.values()}
    assert len(steps) == 1
    assert run.update == 30
    assert 0 < steps.pop() < 30
    assert player.scaler.get_scale() < 2.0**34
