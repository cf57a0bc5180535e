"""Functions that are recorded, here on a tape, and what becomes of those that must not be."""

from __future__ import annotations

import pytest
import torch
from tape import record

from experiments.training import replays
from experiments.training.replays import CannotRecord, Replays


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_function_is_performed_then_recorded_then_replayed_and_each_form_for_itself(said):
    total, calls = torch.zeros(()), []
    calling = Replays(record, said.append, insists=True)

    def add(values: torch.Tensor, sign: int) -> torch.Tensor:
        calls.append(len(values))
        total.add_(sign * values.sum())
        return values * 2

    expected = 0.0
    for turn in range(6):
        for values, sign in ((torch.full((3,), turn + 1.0), 1), (torch.full((2,), turn + 5.0), 1), (torch.ones(3), -1)):
            assert torch.equal(calling("add", add, values, sign, changes=[total]), values * 2)
            expected += sign * values.sum().item()
            assert total.item() == expected
    # Each form: once as it is, once recorded; and the first two replays of the name are compared with the function.
    assert len(calls) == 3 * 2 + replays.CHECKED


def test_chance_is_drawn_anew_in_every_replay(said):
    seen = torch.zeros(4)
    calling = Replays(record, said.append, insists=True)
    for seed in range(8):
        torch.manual_seed(seed)
        calling("draw", lambda: seen.copy_(torch.rand(4)), changes=[seen])
        torch.manual_seed(seed)
        assert torch.equal(seen, torch.rand(4))


@pytest.mark.parametrize("insists", [False, True])
def test_a_number_that_python_keeps_is_noticed(said, insists):
    """The rate as a float would stay what it was at the recording."""
    weight, rate = torch.ones(5), [1.0]
    calling = Replays(record, said.append, insists)

    def step(gradient: torch.Tensor) -> None:
        weight.sub_(gradient * rate[0])

    expected = torch.ones(5)

    def perform() -> None:
        for turn in range(6):
            rate[0] = 0.5**turn
            expected.sub_(torch.full((5,), 0.1) * rate[0])
            calling("step", step, torch.full((5,), 0.1), changes=[weight])
            assert torch.equal(weight, expected)

    if insists:
        with pytest.raises(CannotRecord, match="gives other numbers"):
            perform()
    else:
        perform()
        assert said == [
            "capture=auto: replaying what was recorded gives other numbers than performing it; going on one operation "
            "at a time"
        ]


def test_a_function_that_reads_a_number_is_performed_as_it_is_and_says_so_once(said):
    weight = torch.zeros(3)
    calling = Replays(record, said.append)

    def step(values: torch.Tensor) -> None:
        weight.add_(values if values.sum().item() > 0 else 0)

    for _ in range(5):
        calling("step", step, torch.ones(3), changes=[weight])
    assert weight.tolist() == [5.0] * 3
    (line,) = said
    assert "aten::_local_scalar_dense is not permitted" in line


def test_forms_beyond_the_most_are_performed_as_they_are(said, monkeypatch):
    monkeypatch.setattr(replays, "MOST_FORMS", 2)
    calls, calling = [], Replays(record, said.append, insists=True)
    for _ in range(6):
        for size in (1, 2, 3):
            assert torch.equal(
                calling("double", lambda v: calls.append(len(v)) or v * 2, torch.ones(size)), 2 * torch.ones(size)
            )
    assert calls.count(3) == 6
    assert calls.count(1) < 6


def test_casts_of_a_surrounding_autocast_are_made_in_every_replay(said):
    """Those that it has cached are gone with it."""
    weight, seen = torch.nn.Parameter(torch.ones(4, 4)), torch.zeros(4, 4)
    calling = Replays(record, said.append, insists=True)
    for turn in range(6):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            weight.fill_(turn)
            torch.ones(4, 4) @ weight  # the cache holds the cast of this value now
            calling("product", lambda x: seen.copy_(x @ weight), torch.ones(4, 4), changes=[seen])
        assert torch.equal(seen, torch.full((4, 4), 4.0 * turn))
