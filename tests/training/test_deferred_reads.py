"""The loop as it is on a GPU, forced here: losses are read every few updates, and nothing else changes."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest
import torch
from deferred import end_one_rank_at_update_five, read_every
from in_process import TINY, assert_same, lstm, outcome, small, state_of
from killing import train_in_child
from test_split import train_with_ranks
from toy_gan import ToyGAN, gan_config

from experiments.record.verify import verify
from experiments.training import loop
from experiments.training.divergence import NonFiniteLoss
from experiments.training.task import Loss, Part

DIVERGES = [*TINY, "optim=sgd", "optim.lr=1e30", "schedule.warmup_lr=0"]  # the first epoch at 0, the second at 1e30
READS = ("item", "tolist", "__float__", "__bool__", "__int__", "__index__")


@pytest.mark.parametrize(
    "config",
    [
        small("optim=adan", "ema_decay=0.9", "model.drop_path=0.2"),
        small("exp=resnet18", "batch_size=1024", "optim=sam", "stop_at=9updates"),
        lstm("optim=adam", "stop_at=9updates"),
        gan_config(),
    ],
    ids=["image", "batch norm and two passages", "recurrent memory", "two players"],
)
def test_events_and_parameters_are_the_same_however_often_losses_are_read(begun, config):
    ends = []
    for updates in (1, 7):
        task = ToyGAN(config, Part()) if config.task == "toy_gan" else None
        with begun(updates, config, task) as (run, interruption), run.progress:
            run.go(interruption)
            ends.append((outcome(run.directory.path), state_of(run) if len(run.players) == 1 else []))
    assert ends[0][0] == ends[1][0]
    assert_same(ends[0][1], ends[1][1])


def test_a_loss_that_diverges_between_two_reads_ends_the_run_at_its_own_update_and_as_it_was_before(begun):
    found = []
    for updates in (1, 7):  # which are updates 12 to 18
        with begun(updates, small(*DIVERGES, "optim.momentum=0.9")) as (run, interruption):
            with pytest.raises(NonFiniteLoss) as error:
                run.perform(interruption, until=run.stop)
            run.seal_diverged()
            record = json.loads((run.directory.path / "record.json").read_text())
            found.append((str(error.value), record["status"], record["progress"], state_of(run)))
            assert verify(run.directory.path) == []
    assert "at update 13, learning rate 5e+29; first non-finite gradients in parameter group 0 (" in found[1][0]
    assert found[0][:3] == found[1][:3]
    assert_same(found[0][3], found[1][3])
    assert all(value.isfinite().all() for value in found[1][3][0].values())


def test_a_run_that_diverged_gets_no_second_chance_by_other_rounding(begun):
    config, seen = gan_config(), Counter()

    class OnceNotANumber(ToyGAN):
        def micro_batches(self, update):
            seen[update] += 1
            for player, noise, real in super().micro_batches(update):
                yield player, noise * (float("nan") if update == 5 and seen[5] == 1 else 1), real

    ended = pytest.raises(NonFiniteLoss, match="loss of discriminator is nan at update 5")
    with begun(7, config, OnceNotANumber(config, Part())) as (run, interruption), ended:
        run.perform(interruption, until=11)
    assert (seen[4], seen[5], seen[6], seen[7], seen[8]) == (2, 2, 1, 1, 0)


def test_a_killed_run_ends_like_one_left_alone(begin):
    alone, killed = begin("alone", "optim=adan"), begin("killed", "optim=adan")
    assert train_in_child(alone) == 0
    assert train_in_child(killed, read_every, 7, 17) == -signal.SIGKILL
    assert train_in_child(killed, read_every, 5, 15, signal.SIGTERM) == 75
    assert max(file.name for file in (killed / "checkpoints").iterdir()).startswith("update-00000015")
    assert train_in_child(killed, read_every, 7) == 0
    assert outcome(killed) == outcome(alone)


def test_ranks_leave_together_when_one_of_them_is_asked_to(begin):
    path = begin("ranks", "optim=adan", *TINY)
    train_with_ranks(path, 2, end_one_rank_at_update_five, status=75)
    assert [file.name[:15] for file in (path / "checkpoints").iterdir()] == ["update-00000008"]


@pytest.mark.parametrize("optim", ["sgd", "adan"])
@pytest.mark.parametrize("make", [small, lstm], ids=["image", "lstm"])
def test_an_update_never_waits_for_the_device(begun, monkeypatch, make, optim):
    """Nothing asks a tensor for its number; the read afterwards asks once for all."""
    waits: list[str] = []

    def watched(name: str):
        plain = getattr(torch.Tensor, name)

        def ask(tensor: torch.Tensor, *arguments: object) -> object:
            waits.append(name)
            return plain(tensor, *arguments)

        return ask

    with begun(100, make(f"optim={optim}", "clip_grad_norm=0.1")) as (run, interruption):
        run.perform(interruption, until=1)
        with monkeypatch.context() as patch:
            for name in READS:
                patch.setattr(torch.Tensor, name, watched(name))
            unread = [run._perform(interruption, checked=False) for _ in range(5)]
            assert waits == []
            losses = [loss for one in loop.read(unread) for loss in one.losses]
        assert (waits, len(losses)) == (["tolist"], 5)


class CountedOnTheDevice(ToyGAN):
    """The terms of a loss are counted by the forward pass."""

    def loss(self, module, batch) -> Loss:
        loss = super().loss(module, batch)
        return Loss(loss.sum, count=batch[1].abs().sum(1).gt(0.5).sum(), parts=loss.parts)


def test_counts_of_the_forward_pass_are_read_with_the_losses(begun):
    events = []
    for updates in (1, 7):
        with begun(updates, gan_config(), CountedOnTheDevice(gan_config(), Part())) as (run, interruption):
            run.perform(interruption, until=run.stop)
            events.append((run.directory.path / "events.jsonl").read_bytes())
    assert events[0] == events[1]
