"""Updates that are recorded and replayed. Here a tape replays torch's operations on the memory they were recorded with;
`test_cuda_graphs` does the same with CUDA graphs, on a GPU."""

from __future__ import annotations

import pytest
import torch
from in_process import TINY, assert_same, lstm, outcome, small, state_of
from tape import record

from experiments.optimizers.on_device import keep_on_device
from experiments.schema.check import check
from experiments.schema.compose import compose
from experiments.schema.digest import config_digest
from experiments.schema.errors import UserError
from experiments.training import capture
from experiments.training.capture import require, why_not
from experiments.training.divergence import NonFiniteLoss
from experiments.training.loop import Run
from experiments.training.replays import Replays

ADAMW = ["optim=adamw", "optim.lr=3e-3"]
UPDATES = 24
ON_DEVICE = [
    "augmentation.pipeline=batched",
    "augmentation.padding=2",
    "augmentation.scale=[1,1]",
    "augmentation.ratio=[1,1]",
    "augmentation.auto_augment=null",
    "augmentation.random_erasing=0",
    "augmentation.cutout=6",
    "augmentation.cutmix=1.0",
]


def on_device(run: Run) -> Run:
    """Rates in tensors, as a GPU has them."""
    (player,) = run.players.values()
    player.on_device = True
    keep_on_device(player.optimizer)
    return run


class Counting:
    """A recorder that counts."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, function):
        replay = record(function)
        self.recorded += 1

        def counted() -> None:
            self.replayed += 1
            replay()

        return counted


def said(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize(
    "config, replays",
    [
        (small(*ADAMW, "model.drop_path=0.2", "clip_grad_norm=0.5", "ema_decay=0.9"), 30),
        (small(*ADAMW, "exp=resnet18", "launch.micro_batch=16", "stop_at=13updates"), 10),
        (small(*ADAMW, *ON_DEVICE, "launch.micro_batch=12"), 30),
        (small(*ADAMW, *ON_DEVICE, "augmentation.mixup=0.2", "evaluation.augmented_copies=2"), 30),
        (lstm(*ADAMW, f"stop_at={UPDATES}updates"), 10),
    ],
    ids=[
        "vit",
        "batch norm and micro-batches",
        "images on the device",
        "copies of held-out images",
        "recurrent memory",
    ],
)
def test_a_run_of_replays_is_the_run_itself_bit_for_bit(begun, config, replays):
    counting, ends = Counting(), []
    for updates in (1, 100):
        with begun(updates, config) as (run, interruption):
            on_device(run)
            if updates > 1:
                run.record_updates(Replays(counting, said, insists=True))
            with run.progress:
                run.go(interruption)
            ends.append((outcome(run.directory.path), state_of(run)))
    assert ends[0][0] == ends[1][0]
    assert_same(ends[0][1], ends[1][1])
    assert counting.recorded >= 2
    assert counting.replayed >= replays


def test_a_run_that_can_be_captured_is_from_its_beginning_and_says_so(begun, monkeypatch):
    """As on a GPU, with the tape in the place of its graphs."""
    counting = Counting()
    monkeypatch.setattr(capture, "why_not", lambda *_: None)
    monkeypatch.setattr(capture, "into_cuda_graphs", lambda device: counting)
    with begun(100, small(*ADAMW, *TINY, "capture=true", "stop_at=9updates")) as (run, interruption), run.progress:
        on_device(run)
        run.go(interruption)
        assert run.captured
    assert counting.replayed > 0
    assert '"kind":"captured"' in run.directory.timing_path.read_text()


def test_a_resumed_run_of_replays_ends_like_one_left_alone(begun):
    config, ends = lstm(*ADAMW, f"stop_at={UPDATES}updates"), []
    for folder, stops in ((100, [UPDATES]), (99, [11, UPDATES])):
        for stop in stops:
            with begun(folder, config) as (run, interruption):
                on_device(run).record_updates(Replays(record, said, insists=True))
                if stop < UPDATES:
                    run.perform(interruption, until=stop)
                    run._save()
                    continue
                with run.progress:
                    run.go(interruption)
                ends.append((outcome(run.directory.path), state_of(run)))
    assert ends[0][0] == ends[1][0]
    assert_same(ends[0][1], ends[1][1])


def test_a_checkpoint_is_the_same_wherever_rates_are_kept(begun):
    config = small(*ADAMW, *TINY)
    with begun(100, config) as (run, interruption):
        on_device(run).record_updates(Replays(record, said, insists=True))
        run.perform(interruption, until=11)
        run._save()
    with begun(100, config) as (run, interruption):
        (player,) = run.players.values()
        assert run.update == 11
        assert all(type(group["lr"]) is float for group in player.optimizer.param_groups)
        run.perform(interruption, until=13)


def test_a_loss_that_diverges_amid_replays_ends_the_run_as_without_them(begun):
    config, found = small(*TINY, "optim=adamw", "optim.lr=1e38", "schedule.warmup_lr=0"), []
    for updates in (1, 100):
        with begun(updates, config) as (run, interruption):
            on_device(run)
            if updates > 1:
                run.record_updates(Replays(record, said, insists=True))
            with pytest.raises(NonFiniteLoss) as error:
                run.perform(interruption, until=run.stop)
            run.seal_diverged()
            found.append((str(error.value), outcome(run.directory.path), run.task.module.state_dict()))
    assert found[0][:2] == found[1][:2]
    assert_same(found[0][2:], found[1][2:])


@pytest.mark.parametrize(
    "overrides, world_size, runs, reason",
    [
        (["exp=vit_small"], 1, 1, None),
        (["exp=ptb_lstm_1", "optim=adamw"], 1, 1, None),
        (["exp=vit_small"], 2, 1, "its 2 ranks wait"),
        (["exp=ppo_hopper"], 1, 3, "its 3 seeds train as one batch"),
        (["exp=ppo_hopper"], 1, 1, "ppo computes in shapes that depend on the data"),
        (["exp=transformer_xl"], 1, 1, "transformer_xl computes in shapes that depend on the data"),
        (["exp=resnet18", "optim=lamb"], 1, 1, "optim=lamb reads numbers on the host"),
        (["exp=cifar10_wrn22", "optim=adamw"], 1, 1, "its schedule moves momenta"),
    ],
)
def test_what_stands_in_the_way_is_said_before_anything_is_loaded(overrides, world_size, runs, reason):
    config = compose([*overrides, "capture=true"])[0]
    gpu = torch.device("cuda", 0)
    assert (why_not(config, gpu, world_size, runs) or "").startswith(reason or "")
    assert (why_not(config, gpu, world_size, runs) is None) == (reason is None)
    with pytest.raises(
        UserError, match=r"capture=true .*: it runs on the cpu, and only a GPU replays; did you mean auto"
    ):
        require(config, torch.device("cpu"), 1, 1)


def test_capture_is_no_part_of_a_run_and_has_three_values():
    with pytest.raises(
        UserError, match=r"capture=maybe \(command line\): no such value; choose from: auto, true, false"
    ):
        check(compose(["exp=vit_small", "capture=maybe"])[0])
    digests = {config_digest(compose(["exp=vit_small", f"capture={value}"])[0]) for value in ("auto", "true", "false")}
    assert len(digests) == 1
