"""Pieces of random length: a pure function of the seed and the epoch, whole epochs, the rate that follows them."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.optimizers.schedules import rate_of_update
from experiments.schema import bptt
from experiments.schema.compose import compose
from experiments.schema.config import DataConfig, RunConfig
from experiments.schema.epochs import Epochs, of_run
from experiments.schema.task_sections import BPTTConfig


def lengths(config, epoch):
    return np.diff(bptt.pieces(config, epoch).ends, prepend=0)


def ptb(*more):
    (config,) = compose(["exp=ptb_lstm_1", "optim=adam", "scale=paper", *more])
    return config


def test_pieces_fill_every_epoch_and_follow_the_seed():
    config = ptb()
    for epoch in (0, 1, 199):
        pieces = bptt.pieces(config, epoch)
        assert pieces.ends[-1] == bptt.targets_per_epoch(config) == 929589 // 20 - 1
        assert (lengths(config, epoch)[:-1] == pieces.drawn[:-1]).all() and lengths(config, epoch)[-1] > 1
        assert pieces.drawn.min() >= 5
    assert not np.array_equal(bptt.pieces(config, 0).drawn[:50], bptt.pieces(config, 1).drawn[:50])
    assert not np.array_equal(bptt.pieces(config, 0).drawn[:50], bptt.pieces(ptb("seed=1"), 0).drawn[:50])
    bptt._pieces.cache_clear()
    assert bptt.pieces(config, 0).drawn[:8].tolist() == FIRST


FIRST = [69, 70, 68, 80, 65, 71, 77, 65]  # frozen: a change would alter every run


def test_about_one_piece_in_twenty_is_about_half_as_long():
    config = ptb()
    drawn = np.concatenate([bptt.pieces(config, epoch).drawn for epoch in range(100)])
    assert (drawn < 52).mean() == pytest.approx(0.05, abs=0.004)
    assert drawn[drawn > 52].mean() == pytest.approx(69.5, abs=0.1)  # rounded towards zero
    assert drawn[drawn > 52].std() == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("targets", range(1, 40))
def test_short_texts_are_cut_whole_and_leave_no_single_target(targets):
    config = RunConfig(
        data=DataConfig(train_size=targets + 1),
        bptt=BPTTConfig(length=7, deviation=3, shortest=2, half_probability=0.2),
    )
    for epoch in range(5):
        cut = lengths(config, epoch)
        assert cut.sum() == targets and (targets == 1 or cut.min() > 1)


def test_the_rate_follows_the_length_and_falls_after_epochs_100_and_145():
    config = ptb()
    epochs = of_run(config)
    assert epochs.total_updates == sum(len(lengths(config, epoch)) for epoch in range(200))
    for epoch, scheduled in ((0, 1e-3), (99, 1e-3), (100, 1e-4), (144, 1e-4), (145, 1e-5), (199, 1e-5)):
        first = epochs.ends[epoch - 1] + 1 if epoch else 1
        for position in (0, 17, epochs.updates[epoch] - 1):
            drawn = bptt.pieces(config, epoch).drawn[position]
            assert rate_of_update(config, epochs, first + position) == pytest.approx(scheduled * drawn / 70)
    still = replace(config, bptt=replace(config.bptt, scale_rate=False))
    assert {rate_of_update(still, epochs, update) for update in range(1, 99)} == {1e-3}


def test_epochs_of_differing_lengths_place_every_update():
    epochs = Epochs((3, 1, 2))
    assert [epochs.of(update) for update in range(1, 7)] == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]
    assert [epochs.done(update) for update in range(7)] == [0, 0, 0, 1, 2, 2, 3]
    assert [update for update in range(7) if epochs.ends_with(update)] == [0, 3, 4, 6]
    assert Epochs.from_event(epochs.for_event, 6) == epochs
    equal = Epochs.equal(5, epochs=3)
    assert equal.for_event == 5 and Epochs.from_event(5, 15) == equal
