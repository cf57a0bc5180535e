"""What users do to parameters, states and groups between two steps is honoured by the next, or refused untouched."""

import copy
import gc
import pickle
import subprocess
import sys
import weakref

import pytest
import torch
from adan_implementations import EVERY, has_compiler, needs_compiler

from adan import Adan

MOMENTS = ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad")
HYPER = {"lr": 0.05, "weight_decay": 0.1, "max_grad_norm": 0.5}
OTHERS = [{"foreach": True}, {"foreach": False}, *([{"fused": True}] if has_compiler else [])]
SHAPES = [(4, 4), (3,), ()]


def random(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def begun(implementation, steps=2, **hyper):
    """Parameters and their optimizer after some steps."""
    params = [torch.nn.Parameter(random(shape, i)) for i, shape in enumerate(SHAPES)]
    optimizer = Adan(params, **{**HYPER, **implementation, **hyper})
    for seed in range(steps):
        step(optimizer, seed)
    return params, optimizer


def step(optimizer, seed, closure=None):
    for index, param in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        param.grad = random(param.shape, 1000 * seed + index).to(param.dtype)
    return optimizer.step(closure)


def assert_same(params, optimizer, others, other):
    for one, two in zip(params, others, strict=True):
        torch.testing.assert_close(one, two, rtol=2e-6, atol=1e-7)
        assert optimizer.state[one]["step"] == other.state[two]["step"]
        for name in MOMENTS:
            torch.testing.assert_close(optimizer.state[one][name], other.state[two][name], rtol=1e-5, atol=1e-7)


def snapshot(params, optimizer):
    states = {(i, k): v.clone() for i, p in enumerate(params) for k, v in optimizer.state[p].items()}
    return [p.detach().clone() for p in params], states


def replace_data(params, optimizer):
    for param in params:
        param.data = random(param.shape, 77)


def replace_data_by_views(params, optimizer):
    params[0].data = random((4, 8), 77)[:, ::2]
    params[1].data = random((6,), 78)[1::2]


def transpose_data(params, optimizer):
    params[0].data = params[0].data.clone().t()


def replace_states(params, optimizer):
    for param in params:
        for name in MOMENTS:
            optimizer.state[param][name] = optimizer.state[param][name].clone().mul_(0.5)
        optimizer.state[param]["step"] = torch.tensor(7.0)


def replace_one_state(params, optimizer):
    optimizer.state[params[-1]]["exp_avg_sq"] = optimizer.state[params[-1]]["exp_avg_sq"].clone().add_(1.0)


def write_to_states(params, optimizer):
    for param in params:
        optimizer.state[param]["exp_avg"].mul_(-1)
        optimizer.state[param]["step"].fill_(20)


def transpose_a_state(params, optimizer):
    state = optimizer.state[params[0]]
    state["exp_avg"] = state["exp_avg"].t().contiguous().t()


def delete_a_state(params, optimizer):
    del optimizer.state[params[1]]


def delete_the_last_state(params, optimizer):
    del optimizer.state[params[-1]]


def give_states_anew(params, optimizer):
    state = optimizer.state
    other = copy.deepcopy(state[params[0]])
    for name in MOMENTS:
        other[name] = other[name].t()
    state[params[0]] = other


def clear_states(params, optimizer):
    optimizer.state.clear()


def reload(params, optimizer):
    optimizer.load_state_dict(optimizer.state_dict())


def load_an_older_state(params, optimizer):
    saved = copy.deepcopy(optimizer.state_dict())
    step(optimizer, 50)
    step(optimizer, 51)
    optimizer.load_state_dict(saved)


def change_hyper_parameters(params, optimizer):
    new = {"lr": 0.001, "betas": (0.9, 0.8, 0.95), "eps": 1e-3, "weight_decay": 0.0, "no_prox": True}
    optimizer.param_groups[0].update(new, max_grad_norm=0.0)


def swap_tensors(params, optimizer):
    torch.utils.swap_tensors(params[0], torch.nn.Parameter(random((4, 4), 77)))


def share_memory(params, optimizer):
    for param in params:
        param.share_memory_()


def reorder(params, optimizer):
    optimizer.param_groups[0]["params"].reverse()
    params.reverse()


def replace_a_parameter(params, optimizer):
    """As in pruning and densification: the new parameter takes a part of the old one's states."""
    old, new = params[0], torch.nn.Parameter(params[0].detach()[:3].clone())
    state = optimizer.state.pop(old)
    optimizer.state[new] = {k: v if k == "step" else v[:3].clone() for k, v in state.items()}
    optimizer.param_groups[0]["params"][0] = params[0] = new


def remove_a_parameter(params, optimizer):
    del optimizer.state[params[1]]
    del optimizer.param_groups[0]["params"][1]
    del params[1]


def add_a_group(params, optimizer):
    params.append(torch.nn.Parameter(random((5,), 77)))
    optimizer.add_param_group({"params": [params[-1]], "lr": 0.01, "max_grad_norm": 0.1})


@EVERY
@pytest.mark.parametrize(
    "interfere",
    [
        *(replace_data, replace_data_by_views, transpose_data, share_memory, swap_tensors),
        *(replace_states, replace_one_state, write_to_states, transpose_a_state, give_states_anew),
        *(delete_a_state, delete_the_last_state, clear_states, reload, load_an_older_state),
        *(change_hyper_parameters, reorder, replace_a_parameter, remove_a_parameter, add_a_group),
    ],
)
def test_the_next_step_is_that_of_an_optimizer_made_anew(interfere, implementation):
    """Whatever an optimizer keeps between steps, one that is given the same parameters and states has not."""
    params, optimizer = begun(implementation)
    interfere(params, optimizer)
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    twin_of = dict(zip(params, others, strict=True))
    groups = [{**g, "params": [twin_of[p] for p in g["params"]]} for g in optimizer.param_groups]
    other = Adan(groups, foreach=True)
    for group in other.param_groups:
        group.update(foreach=True, fused=None)
    for param in params:
        if param in optimizer.state:
            other.state[twin_of[param]] = {k: v.clone() for k, v in optimizer.state[param].items()}
    for seed in (10, 11, 12):
        step(optimizer, seed)
        step(other, seed)
        assert_same(params, optimizer, others, other)


@EVERY
def test_a_state_emptied_in_place_begins_anew(implementation):
    params, optimizer = begun(implementation)
    optimizer.state[params[-1]].clear()
    step(optimizer, 10)
    assert optimizer.state[params[-1]]["step"] == 1


@EVERY
def test_hyper_parameters_in_a_list_may_be_changed_in_place(implementation):
    (param, *_), optimizer = begun(implementation, betas=[0.9, 0.9, 0.9], lr=0.1)
    optimizer.param_groups[0]["betas"][0] = 0.5
    before = optimizer.state[param]["exp_avg"].clone()
    step(optimizer, 10)
    grad = optimizer.state[param]["pre_grad"]
    torch.testing.assert_close(optimizer.state[param]["exp_avg"], 0.5 * before + 0.5 * grad)


@needs_compiler
def test_the_data_of_a_state_may_be_replaced():
    (param, *_), optimizer = begun({"fused": True})
    state = optimizer.state[param]
    state["exp_avg"].data = torch.full_like(state["exp_avg"], 100.0)
    step(optimizer, 10)
    assert (state["exp_avg"] < 99.0).all()


@needs_compiler
def test_memory_of_a_state_that_was_replaced_is_not_written_after_it_was_freed():
    """In a process, for it would crash: the pages of large tensors go back to the system when they are freed."""
    code = """if True:
        import torch
        from adan import Adan
        param = torch.nn.Parameter(torch.ones(1 << 22))
        optimizer = Adan([param], fused=True)
        for _ in range(2):
            param.grad = torch.ones_like(param)
            optimizer.step()
            for name in ("exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"):
                optimizer.state[param][name].data = torch.zeros(1 << 22)
        """
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_compiler
def test_a_parameter_may_be_transposed_in_place():
    (param, *_), optimizer = begun({"fused": True}, max_grad_norm=0.0)
    moved = param.detach().clone().t()
    param.data = param.data.t()
    twin = torch.nn.Parameter(moved.clone())
    other = Adan([twin], **{**HYPER, "max_grad_norm": 0.0}, foreach=True)
    other.state[twin] = {k: v.clone() for k, v in optimizer.state[param].items()}
    for tensor, stepping in ((param, optimizer), (twin, other)):
        tensor.grad = None
        (tensor * random((4, 4), 10)).sum().backward()  # autograd lays gradients out as their parameters
        stepping.step()
    torch.testing.assert_close(param, twin)


@EVERY
@pytest.mark.parametrize("shape", [(2, 3), (1,), (3, 1), (4,)])
def test_a_parameter_of_another_shape_is_refused_before_anything_changes(shape, implementation):
    params, optimizer = begun(implementation)
    params[1].grad = None
    params[1].data = torch.ones(shape)
    weights, states = snapshot(params, optimizer)
    with pytest.raises(RuntimeError, match="shape"):
        step(optimizer, 10)
    for param, before in zip(params, weights, strict=True):
        assert torch.equal(param, before)
    assert all(torch.equal(optimizer.state[params[i]][k], v) for (i, k), v in states.items())


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_parameter_of_another_type_is_refused_until_its_states_are_fitted(dtype):
    """As `model.to(torch.bfloat16)` after some steps makes them: the kernel for fp32 would write beyond their end."""
    params, optimizer = begun({"fused": True})
    for param in params:
        param.grad = None
        param.data = param.data.to(dtype)
    weights, _ = snapshot(params, optimizer)
    with pytest.raises(RuntimeError, match=rf"changed its type from torch\.float32 to {dtype}"):
        step(optimizer, 10)
    assert all(torch.equal(param, before) for param, before in zip(params, weights, strict=True))
    optimizer.load_state_dict(optimizer.state_dict())
    step(optimizer, 10)
    assert optimizer.state[params[0]]["step"] == 3
    assert not any(torch.equal(param, before) for param, before in zip(params, weights, strict=True))


@needs_compiler
@pytest.mark.parametrize(
    "name, state",
    [
        ("exp_avg_sq", torch.zeros(3, dtype=torch.float64)),
        ("exp_avg_diff", torch.zeros(3, dtype=torch.bfloat16)),
        ("pre_grad", torch.zeros(1)),
        ("exp_avg", torch.zeros(3, device="meta")),
        ("step", torch.tensor(2)),
        ("step", torch.tensor(2.0, dtype=torch.float64)),
    ],
)
def test_states_that_the_kernel_would_misread_are_refused_before_anything_changes(name, state):
    params, optimizer = begun({"fused": True})
    weights, _ = snapshot(params, optimizer)
    optimizer.state[params[1]][name] = state.clone()
    with pytest.raises(RuntimeError, match=rf"state '{name}' of a parameter of shape \(3,\)|shape"):
        step(optimizer, 10)
    assert all(torch.equal(param, before) for param, before in zip(params, weights, strict=True))
    assert optimizer.state[params[0]]["step"] == 2


@needs_compiler
def test_copies_of_a_step_that_was_not_made_are_forgotten():
    """A step that fails after it has copied a view must not write that copy back at the next."""
    view, other = torch.nn.Parameter(torch.ones(8)[::2]), torch.nn.Parameter(torch.ones(3))
    optimizer = Adan([view, other], fused=True, lr=0.1)
    view.grad, other.grad = torch.ones(4), torch.ones(3)
    optimizer.step()
    other.grad = None
    other.data = torch.ones(2)
    other.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="shape"):
        optimizer.step()
    other.grad = None
    view.data = torch.full((4,), 5.0)
    optimizer.step()
    assert view.tolist() == pytest.approx([4.9] * 4, abs=1e-6)


@EVERY
def test_gradients_may_come_and_go(implementation):
    pattern = [(1, 1, 1), (0, 1, 1), (1, 0, 0), (0, 0, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1)]
    params, optimizer = begun(implementation, steps=0)
    others, other = begun({"foreach": False}, steps=0)
    for seed, present in enumerate(pattern):
        for these, stepper in ((params, optimizer), (others, other)):
            for index, (param, there) in enumerate(zip(these, present, strict=True)):
                param.grad = random(param.shape, 10 * seed + index) if there else None
            stepper.step()
    assert_same(params, optimizer, others, other)
    assert [int(optimizer.state[p]["step"]) for p in params] == [sum(column) for column in zip(*pattern, strict=True)]


@pytest.mark.parametrize("first", OTHERS, ids=str)
@pytest.mark.parametrize("second", OTHERS, ids=str)
def test_the_implementation_may_be_changed_between_steps(first, second):
    params, optimizer = begun(first)
    optimizer.param_groups[0].update({"foreach": None, "fused": None, **second})
    names = {"foreach": "foreach" if second.get("foreach") else "single-tensor", "fused": "fused-cpp"}
    others, other = begun({"foreach": True})
    for seed in (10, 11):
        step(optimizer, seed)
        step(other, seed)
    assert optimizer.implementation == names[next(iter(second))]
    assert_same(params, optimizer, others, other)


@EVERY
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
def test_a_copy_and_its_source_go_on_apart(duplicate, implementation):
    params, optimizer = begun(implementation)
    others, other = duplicate((params, optimizer))
    step(optimizer, 10)
    weights, states = snapshot(params, optimizer)
    step(other, 20)  # must not touch the source
    assert all(torch.equal(p, before) for p, before in zip(params, weights, strict=True))
    assert all(torch.equal(optimizer.state[params[i]][k], v) for (i, k), v in states.items())
    fresh, again = begun(implementation)
    step(again, 20)
    assert all(torch.equal(one, two) for one, two in zip(others, fresh, strict=True))


@EVERY
def test_the_backward_of_a_stale_graph_raises(implementation):
    params, optimizer = begun(implementation)
    loss = params[0].square().sum()
    step(optimizer, 10)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_a_step_may_be_made_in_any_grad_mode(mode, implementation):
    params, optimizer = begun(implementation, steps=1)
    others, other = begun(implementation, steps=1)
    with mode():
        step(optimizer, 10)
    step(other, 10)
    step(optimizer, 11)
    step(other, 11)
    assert all(torch.equal(one, two) for one, two in zip(params, others, strict=True))
    assert all(param.requires_grad and param.is_leaf for param in params)
    assert not any(t.requires_grad for param in params for t in optimizer.state[param].values())


@EVERY
def test_parameters_made_in_inference_mode_can_be_stepped_there(implementation):
    with torch.inference_mode():
        params, _ = begun(implementation, steps=3)
    others, _ = begun(implementation, steps=3)
    assert all(torch.equal(one, two) for one, two in zip(params, others, strict=True))


@EVERY
def test_a_closure_makes_the_gradients_of_its_step(implementation):
    params, optimizer = begun(implementation, steps=0)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = sum((param - 1).square().sum() for param in params)
        loss.backward()
        return loss

    for _ in range(60):
        losses.append(optimizer.step(closure).item())
    assert losses[-1] < 0.5 * losses[0] and optimizer.state[params[0]]["step"] == 60


@EVERY
def test_gradients_that_the_user_drops_are_freed(implementation):
    """Else the memory of all gradients is held during the next forward and backward pass."""
    params, optimizer = begun(implementation)
    grads = [weakref.ref(param.grad) for param in params]
    optimizer.zero_grad(set_to_none=True)
    gc.collect()
    assert not any(grad() is not None for grad in grads)
