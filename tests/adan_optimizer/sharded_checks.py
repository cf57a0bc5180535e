"""Checks that run on every rank of a process group; see test_adan_sharded.py."""

import copy

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer

from adan import Adan

# Under the norm of every step, so that all are clipped.
HYPER = {"lr": 0.05, "weight_decay": 0.1, "max_grad_norm": 0.02, "eps": 1e-6}
STEPS, BATCH = 5, 8


def model_of(dtype=torch.float64) -> nn.Sequential:
    """Rows that two ranks cannot share evenly: 3, and 1, of which the second rank has none."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)


def shard(model: nn.Sequential, mesh=None) -> nn.Sequential:
    for layer in (model[0], model[2], model[4]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def mesh_of(*shape: int):
    return init_device_mesh("cpu", shape, mesh_dim_names=("replicate", "shard")[-len(shape) :])


def groups_of(model: nn.Sequential, only_one_clips: bool) -> list[dict]:
    first, rest = list(model[0].parameters()), [*model[2].parameters(), *model[4].parameters()]
    return [{"params": first}, {"params": rest, **({"max_grad_norm": 0.0} if only_one_clips else {})}]


def train(model, optimizer, shares=1, share=0, first=0, steps=STEPS, scaler=None):
    """Steps on one share of each batch; the mean over all shares is the gradient over the batch."""
    for step in range(first, first + steps):
        batch = torch.randn(BATCH, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        optimizer.zero_grad()
        loss = model(batch.chunk(shares)[share].to(next(model.parameters()).dtype)).square().mean()
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach()


def assert_same(model, other, tolerance=1e-12):
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(
            whole(one), whole(two), rtol=0, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
        )


def train_on_ranks(sharded, optimizer, **arguments):
    train(sharded, optimizer, dist.get_world_size(), dist.get_rank(), **arguments)


def sharded_equals_unsharded(implementation, mesh=(2,), only_one_clips=False):
    plain, sharded = model_of(), shard(model_of(), mesh_of(*mesh))
    expected = Adan(groups_of(plain, only_one_clips), **HYPER)
    optimizer = Adan(groups_of(sharded, only_one_clips), **HYPER, **implementation)
    train(plain, expected)
    train_on_ranks(sharded, optimizer)
    assert_same(sharded, plain)
    free = model_of()
    train(free, Adan(groups_of(free, only_one_clips), **{**HYPER, "max_grad_norm": 0.0}))
    assert max((a - b).abs().max() for a, b in zip(free.parameters(), plain.parameters(), strict=True)) > 1e-6


def a_rank_without_gradients_takes_part(implementation):
    """The norm is that of what the other rank has."""
    sharded = shard(model_of(), mesh_of(2))
    optimizer = Adan(sharded.parameters(), **HYPER, **implementation)
    for _ in range(3):
        squares = torch.zeros((), dtype=torch.float64)
        for param in sharded.parameters():
            if dist.get_rank() == 0:
                param.grad = torch.ones_like(param)
                squares += param.grad.to_local().square().sum()
            else:
                param.grad = None
        optimizer.step()
    dist.all_reduce(squares)
    factor = HYPER["max_grad_norm"] / (squares.sqrt() + HYPER["eps"])
    for param in sharded.parameters():
        if dist.get_rank() == 0:
            kept = optimizer.state[param]["pre_grad"].to_local()
            torch.testing.assert_close(kept, factor.expand_as(kept), rtol=1e-12, atol=0.0)
        else:
            assert not optimizer.state.get(param)


def state_round_trips(implementation, state_dtype=None):
    """Through torch.distributed.checkpoint's view of it, into a fresh model and optimizer: the same bits go on."""
    source, target = shard(model_of(torch.float32), mesh_of(2)), shard(model_of(torch.float32), mesh_of(2))
    first = Adan(source.parameters(), **HYPER, **implementation, state_dtype=state_dtype)
    train_on_ranks(source, first)
    target.load_state_dict(source.state_dict())
    second = Adan(target.parameters(), **{**HYPER, "lr": 1.0}, **implementation, state_dtype=state_dtype)
    saved = get_optimizer_state_dict(source, first)
    assert "0.weight" in saved["state"]
    set_optimizer_state_dict(target, second, copy.deepcopy(saved))
    for model, optimizer in ((source, first), (target, second)):
        train_on_ranks(model, optimizer, first=STEPS, steps=3)
    assert_same(target, source, tolerance=0)
    kept = second.state[target[0].weight]
    assert kept["exp_avg"].dtype == (state_dtype or torch.float32) and kept["step"] == STEPS + 3


def parameters_moved_by_the_model_are_still_stepped(implementation):
    """As `model.cpu()` and back does it: the DTensors stay, their local tensors are others."""
    plain, sharded = model_of(), shard(model_of(), mesh_of(2))
    expected, optimizer = Adan(plain.parameters(), **HYPER), Adan(sharded.parameters(), **HYPER, **implementation)
    train(plain, expected, steps=2)
    train_on_ranks(sharded, optimizer, steps=2)
    sharded._apply(torch.clone)
    train(plain, expected, first=2, steps=2)
    train_on_ranks(sharded, optimizer, first=2, steps=2)
    assert_same(sharded, plain)


def a_scaler_skips_on_all_ranks_or_none(implementation):
    """An infinite gradient in one rank's shard: if that rank alone skipped, the other would wait for its norm."""
    sharded = shard(model_of(), mesh_of(2))
    optimizer = Adan(sharded.parameters(), **HYPER, **implementation)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    train_on_ranks(sharded, optimizer, steps=1, scaler=scaler)
    before = [whole(param).clone() for param in sharded.parameters()]
    scaler.scale(sharded(torch.ones(2, 5, dtype=torch.float64)).sum()).backward()
    if dist.get_rank() == 0:
        sharded[0].weight.grad.to_local().fill_(float("inf"))
    scaler.step(optimizer)
    scaler.update()
    assert all(torch.equal(whole(p), old) for p, old in zip(sharded.parameters(), before, strict=True))
    assert scaler.get_scale() < 4.0


def zero_redundancy(parameters, implementation, with_group=True):
    """Every rank has all gradients, as with DistributedDataParallel, and steps only its share of the parameters."""
    shapes = [(4, 3), (3,), (), (7,)][:parameters]

    def values(seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]

    plain, shared = ([nn.Parameter(value) for value in values(0)] for _ in range(2))
    expected = Adan(plain, **HYPER)
    group = {"norm_group": dist.group.WORLD} if with_group else {}
    optimizer = ZeroRedundancyOptimizer(shared, optimizer_class=Adan, **HYPER, **implementation, **group)
    for step in range(STEPS):
        for params in (plain, shared):
            for param, grad in zip(params, values(step + 1), strict=True):
                param.grad = grad * 10.0 ** (step - 2)
        expected.step()
        optimizer.step()
    worst = max((one - two).abs().max().item() for one, two in zip(plain, shared, strict=True))
    assert worst < 1e-12 if with_group or parameters == 1 else worst > 1e-6, worst
