"""Any split of the global batch, over ranks and micro-batches, gives the same update. Real gloo processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killing import server, train_in_child

from experiments.training.checkpoint import load_newest

EXACT = ["precision=fp64", "model.drop_path=0", "schedule.warmup_epochs=0", "stop_at=6updates"]


def train_with_ranks(path: Path, ranks: int, prepare: Callable[[], None] | None = None, status: int = 0) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [
        server.Process(target=_rank, args=(path, rank, ranks, port, prepare), name=f"rank {rank} of {ranks}")
        for rank in range(ranks)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [status] * ranks


def _rank(path: Path, rank: int, ranks: int, port: int, prepare: Callable[[], None] | None) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    from experiments.launch.worker import run

    torch.set_num_threads(1)
    if prepare is not None:
        prepare()
    os._exit(run(path))


def parameters(path: Path) -> dict[str, torch.Tensor]:
    state, refused = load_newest(path / "checkpoints")
    assert state is not None and not refused and state["update"] == 6
    return state["module"]


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max((tensor - other[name]).abs().max().item() for name, tensor in one.items())


@pytest.fixture(scope="module")
def whole() -> dict[str, dict[str, torch.Tensor]]:
    return {}


@pytest.mark.parametrize("ranks, micro_batch", [(1, 32), (1, 2), (2, 64), (2, 16), (4, 8), (4, 32)])
@pytest.mark.parametrize(
    "overrides",
    [
        # The bias of attention's keys has no gradient but rounding noise, about 1e-17, which eps = 1e-8 would
        # amplify by lr / eps to more than 1e-12.
        ("optim=adan", "optim.max_grad_norm=0.1", "optim.eps=1e-6"),
        ("optim=sgd", "optim.lr=0.1", "clip_grad_norm=0.1", "batch_per_device=32"),
    ],
    ids=["one mixing group", "four mixing groups"],
)
def test_parameters_agree_in_float64(begin, whole, overrides, ranks, micro_batch):
    key = overrides[0]
    if key not in whole:
        path = begin("whole", *EXACT, *overrides)
        assert train_in_child(path) == 0
        whole[key] = parameters(path)
    path = begin("split", *EXACT, *overrides, f"launch.micro_batch={micro_batch}")
    train_with_ranks(path, ranks) if ranks > 1 else train_in_child(path)
    split = parameters(path)
    assert largest_difference(split, whole[key]) <= 1e-12
    assert path.name == begin("split", *EXACT, *overrides).name, "the split is no part of a run's identity"


def test_two_ranks_resume_what_one_rank_began(begin, whole):
    overrides = [*EXACT[:-1], "optim=adan"]
    path = begin("changed", *overrides, "stop_at=3updates")
    assert train_in_child(path) == 0
    early = load_newest(path / "checkpoints")[0]["module"]
    assert begin("changed", *overrides, "stop_at=6updates") == path
    train_with_ranks(path, 2)
    alone = begin("alone", *overrides, "stop_at=6updates")
    assert train_in_child(alone) == 0
    expected = parameters(alone)
    assert largest_difference(parameters(path), expected) <= 1e-12
    assert largest_difference(early, expected) > 1e-3, "training must have moved the parameters"
