"""Rates per epoch: timm's scheduler, the jump after warm-up in the released runs, steps."""

from dataclasses import replace

import pytest

from experiments.optimizers.schedules import momentum_of_update, rate, rate_of_update, rates
from experiments.schema.config import RunConfig, ScheduleConfig
from experiments.schema.epochs import Epochs
from experiments.schema.errors import UserError


def cosine(epochs, warmup, **settings):
    return ScheduleConfig(name="cosine", epochs=epochs, warmup_epochs=warmup, **settings)


# Fraction of the peak in the first epoch after warm-up, from the released logs (recipes.yaml, timm_schedule_facts).
@pytest.mark.parametrize(
    "epochs, warmup, fraction",
    [
        (150, 60, 0.655),
        (300, 90, 0.794),
        (300, 80, 0.835),
        (100, 60, 0.346),
        (200, 60, 0.795),
        (300, 60, 0.905),
        (100, 40, 0.658),
        (300, 150, 0.503),
    ],
)
def test_the_rate_jumps_onto_the_cosine_after_warm_up(epochs, warmup, fraction):
    schedule = cosine(epochs, warmup, warmup_lr=1e-8, min_lr=1e-5)
    lr = 0.015
    assert rate(schedule, lr, 0) == 1e-8
    assert rate(schedule, lr, warmup - 1) == pytest.approx(lr * (warmup - 1) / warmup, rel=1e-5)
    assert rate(schedule, lr, warmup) / lr == pytest.approx(fraction, abs=4e-3)


@pytest.mark.parametrize(
    "schedule",
    [
        cosine(150, 60, warmup_lr=1e-8, min_lr=1e-5, cooldown_epochs=10),
        cosine(300, 90, warmup_lr=1e-6, min_lr=1e-8, cooldown_epochs=10),
        cosine(30, 0, warmup_lr=1e-4, min_lr=1e-6),
        cosine(5, 5, warmup_lr=1e-6, cooldown_epochs=2),
        cosine(1, 0, min_lr=1e-3, cooldown_epochs=1),
    ],
    ids=lambda schedule: f"{schedule.epochs}/{schedule.warmup_epochs}",
)
def test_every_epoch_has_the_rate_of_timms_scheduler(schedule):
    torch = pytest.importorskip("torch")
    from timm.scheduler import CosineLRScheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.015)
    theirs = CosineLRScheduler(
        optimizer,
        t_initial=schedule.epochs,
        lr_min=schedule.min_lr,
        warmup_t=schedule.warmup_epochs,
        warmup_lr_init=schedule.warmup_lr,
    )
    used = []
    for epoch in range(schedule.epochs + schedule.cooldown_epochs):
        used.append(optimizer.param_groups[0]["lr"])
        theirs.step(epoch + 1)  # as timm's train.py does at the end of an epoch
    assert rates(schedule, 0.015) == pytest.approx(used, rel=1e-12)


def test_cool_down_runs_at_the_least_rate():
    schedule = cosine(4, 1, min_lr=1e-5, cooldown_epochs=3)
    assert rates(schedule, 0.1)[4:] == [1e-5] * 3


def test_steps_fall_at_their_milestones():
    schedule = ScheduleConfig(name="step", epochs=90, milestones=[30, 60], decay=0.1)
    assert [rate(schedule, 1.0, epoch) for epoch in (0, 29, 30, 59, 60, 89)] == pytest.approx(
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    )


def test_constant():
    assert rates(ScheduleConfig(name="constant", epochs=3), 0.3) == [0.3] * 3


def of_all_updates(schedule):
    config, epochs = RunConfig(schedule=schedule, optim={"lr": 0.1}), Epochs.equal(4, epochs=11)
    return [rate_of_update(config, epochs, update) for update in range(1, 45)]


def test_per_update_the_rate_moves_within_the_epoch():
    schedule = replace(cosine(10, 2, min_lr=1e-4), per_update=True)
    moving = of_all_updates(schedule)
    assert moving[::4] == pytest.approx([*rates(schedule, 0.1), 0.0001], abs=1e-15)
    assert len(set(moving[:40])) == 40
    still = of_all_updates(replace(schedule, per_update=False))
    assert [still[index] for index in (0, 3, 4, 7)] == [still[0], still[0], still[4], still[4]]


def test_with_a_warm_up_prefix_the_cosine_begins_at_the_peak_and_spans_the_rest():
    schedule = replace(cosine(10, 2, min_lr=0.0), warmup_prefix=True)
    assert rate(schedule, 0.1, 2) == 0.1
    assert rate(schedule, 0.1, 6) == pytest.approx(0.05)
    assert rate(schedule, 0.1, 10) == 0.0


def test_an_unknown_schedule_is_a_user_error():
    with pytest.raises(UserError, match=r"schedule\.name=cosin: unknown schedule; did you mean 'cosine'"):
        rate(ScheduleConfig(name="cosin"), 0.1, 0)


def test_the_momentum_moves_against_the_rate_as_in_torchs_one_cycle():
    torch = pytest.importorskip("torch")
    from torch.optim.lr_scheduler import OneCycleLR

    schedule = ScheduleConfig(
        name="linear",
        updates=99,
        warmup_updates=29,
        warmup_prefix=True,
        warmup_lr=0.004,
        min_lr=1e-5,
        base_momentum=0.85,
        max_momentum=0.95,
    )
    config = RunConfig(schedule=schedule, optim={"lr": 0.1, "momentum": 0.9})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    theirs = OneCycleLR(
        optimizer, 0.1, total_steps=100, pct_start=0.3, anneal_strategy="linear", div_factor=25, final_div_factor=400
    )
    for update in range(1, 100):
        group, epochs = optimizer.param_groups[0], Epochs.equal(99, epochs=1)
        assert rate_of_update(config, epochs, update) == pytest.approx(group["lr"], rel=1e-12)
        assert momentum_of_update(config, epochs, update) == pytest.approx(group["momentum"], rel=1e-12)
        optimizer.step()
        theirs.step()


def test_without_its_settings_the_momentum_is_the_optimizers_own():
    config = RunConfig(schedule=cosine(10, 2), optim={"lr": 0.1})
    assert momentum_of_update(config, Epochs.equal(4, epochs=10), 5) is None


def test_phases_give_every_update_of_fast_ais_run_its_rate_and_its_momentum():
    """sgugger/Adam-experiments@b1ede77 train_cifar10.py: 30 epochs of 391 updates, three phases, beta1 against it.

    A phase begins with the update after its float end there, and that update has the phase's first rate: at most the
    part of an update from ours."""
    lr, of_epoch, epochs = 3e-3, 391, 30
    config = RunConfig(
        optim={"lr": lr, "betas": [0.95, 0.99]},
        schedule=ScheduleConfig(
            name="phases",
            epochs=epochs,
            per_update=True,
            phases=[0.4625, 0.4625, 0.075],
            phase_rates=[0.1, 1.0, 0.1, 1e-3],
            base_momentum=0.85,
            max_momentum=0.95,
        ),
    )
    theirs, count, end = [], 0, 0.0
    ends = [(13.875, (0.1, 1.0), (0.95, 0.85)), (13.875, (1.0, 0.1), (0.85, 0.95)), (2.25, (0.1, 1e-3), (0.95, 0.95))]
    for length, (first, last), (high, low) in ends:
        updates, j = length * of_epoch, 0
        end += updates
        while count < end - 1e-6:
            part = j / updates
            theirs.append((lr * (first + part * (last - first)), high + part * (low - high)))
            count, j = count + 1, j + 1
    assert len(theirs) == 11_730
    ours = Epochs.equal(of_epoch, epochs)
    of_one_update = 0.9 / (13.875 * of_epoch)
    for update, (their_rate, their_momentum) in enumerate(theirs, 1):
        assert rate_of_update(config, ours, update) == pytest.approx(their_rate, abs=lr * of_one_update)
        assert momentum_of_update(config, ours, update) == pytest.approx(their_momentum, abs=0.1 * of_one_update / 0.9)
    assert rate_of_update(config, ours, 1) == pytest.approx(lr / 10)
    assert rate_of_update(config, ours, 11_730) == pytest.approx(lr / 1000, rel=0.2)
