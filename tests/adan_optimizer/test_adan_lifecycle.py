"""What happens around steps: late and frozen parameters, restart, scaler, errors, flags."""

import warnings

import numpy as np
import pytest
import torch
from adan_implementations import EVERY, has_compiler

from adan import Adan
from experiments.conformance.reference import ReferenceAdan


def scalar(value=1.0):
    return torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))


def step(optimizer, *pairs):
    for param, grad in pairs:
        param.grad = None if grad is None else torch.tensor([grad], dtype=torch.float64)
    optimizer.step()


@EVERY
def test_a_late_parameter_is_corrected_by_its_own_count(implementation):
    early, late, alone = scalar(), scalar(), scalar()
    optimizer = Adan([early, late], lr=0.1, **implementation)
    fresh = Adan([alone], lr=0.1, **implementation)
    for gradient in (0.5, -0.3, 0.8):
        step(optimizer, (early, gradient), (late, None))
    for gradient in (0.1, -0.6):
        step(optimizer, (early, gradient), (late, gradient))
        step(fresh, (alone, gradient))
    assert late.item() == alone.item()
    assert early.item() == pytest.approx(0.8938366509, abs=6e-11)


def test_a_parameter_without_gradient_is_neither_moved_nor_decayed():
    frozen, free = scalar(), scalar()
    frozen.requires_grad_(False)
    optimizer = Adan([frozen, free], lr=0.1, weight_decay=0.5)
    step(optimizer, (free, 1.0))
    assert frozen.item() == 1.0 and free.item() != 1.0
    optimizer.zero_grad()
    before = free.item()
    optimizer.step()
    assert free.item() == before and optimizer.state[free]["step"] == 1


def test_empty_groups_are_no_obstacle():
    param = scalar()
    optimizer = Adan([{"params": []}, {"params": [param]}], lr=0.1, max_grad_norm=1.0)
    step(optimizer, (param, 0.5))
    assert param.item() == pytest.approx(0.9, abs=1e-8)


def test_restart_forgets_momentum_and_takes_the_next_gradient_as_the_previous_one():
    param = scalar()
    optimizer = Adan([param], lr=0.1, weight_decay=0.02)
    reference = ReferenceAdan([{"params": [[1.0]]}], lr=0.1, weight_decay=0.02)
    for index, gradient in enumerate((0.5, -0.3, 0.8, 0.1, -0.6)):
        if index == 3:
            optimizer.restart_opt()
            reference.restart()
            assert optimizer.state[param]["step"] == 0
            assert all(optimizer.state[param][name].item() == 0 for name in ("exp_avg", "exp_avg_diff", "exp_avg_sq"))
        step(optimizer, (param, gradient))
        reference.step([[[gradient]]])
        assert param.item() == pytest.approx(reference.params[0].item(), rel=1e-13)


def test_restart_before_the_first_step_does_nothing():
    param = scalar()
    optimizer = Adan([param], lr=0.1)
    optimizer.restart_opt()
    step(optimizer, (param, 0.5))
    assert param.item() == pytest.approx(0.9, abs=1e-8)


def test_a_step_that_the_gradient_scaler_skips_changes_nothing():
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = Adan([param], lr=0.1, max_grad_norm=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale((param * torch.tensor([1.0, 2.0])).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    state = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in optimizer.state[param].items()}
    weights = param.detach().clone()
    # The gradient was unscaled before the norm was taken: (1, 2) scaled to norm 1.
    torch.testing.assert_close(state["pre_grad"], torch.tensor([1.0, 2.0]) / 5**0.5)

    optimizer.zero_grad()
    scaler.scale((param * float("inf")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(param, weights) and optimizer.state[param]["step"] == 1
    assert all(torch.equal(optimizer.state[param][k], v) for k, v in state.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("kind", ["sparse", "complex"])
def test_sparse_and_complex_gradients_are_refused_before_anything_changes(kind):
    good = torch.nn.Parameter(torch.ones(2, 2))
    good.grad = torch.ones(2, 2)
    bad = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.complex64 if kind == "complex" else torch.float32))
    bad.grad = torch.ones_like(bad) if kind == "complex" else torch.eye(2).to_sparse()
    optimizer = Adan([good, bad])
    with pytest.raises(RuntimeError, match=rf"\(2, 2\) is {kind}"):
        optimizer.step()
    assert torch.equal(good, torch.ones(2, 2)) and not optimizer.state


def test_learning_rate_may_be_a_tensor_and_set_between_steps():
    number, tensor = scalar(), scalar()
    by_number, by_tensor = Adan([number], lr=0.1), Adan([tensor], lr=torch.tensor(0.1, dtype=torch.float64))
    for rate, gradient in ((0.1, 0.5), (0.05, -0.3), (0.0, 0.7)):
        by_number.param_groups[0]["lr"] = rate
        by_tensor.param_groups[0]["lr"].fill_(rate)
        step(by_number, (number, gradient))
        step(by_tensor, (tensor, gradient))
        assert number.item() == tensor.item()


def test_closure_is_called_with_gradients_enabled_and_its_loss_returned():
    param = scalar(3.0)
    optimizer = Adan([param], lr=0.1)

    def closure():
        loss = param.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert param.item() == pytest.approx(2.9, abs=1e-7)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"lr": -1.0}, "lr must be"),
        ({"lr": float("nan")}, "lr must be"),
        ({"lr": torch.ones(2)}, "one element"),
        ({"eps": -1e-8}, "eps must be"),
        ({"weight_decay": -0.1}, "weight_decay must be"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be"),
        ({"betas": (0.9, 0.999)}, "three numbers"),
        ({"betas": (0.98, 0.92, 1.0)}, "three numbers"),
    ],
)
def test_bad_hyper_parameters_are_refused_for_the_optimizer_and_for_a_group(arguments, message):
    with pytest.raises(ValueError, match=message):
        Adan([scalar()], **arguments)
    with pytest.raises(ValueError, match=message):
        Adan([{"params": [scalar()], **arguments}])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"fused": True, "dtype": torch.float16}, r"fused=True: the CPU kernel has no form for torch\.float16"),
        ({"capturable": True}, "capturable=True: .*CUDA graph"),
    ],
)
def test_what_cannot_be_insisted_on_is_said_before_anything_changes(arguments, message):
    dtype = arguments.pop("dtype", torch.float32)
    param = torch.nn.Parameter(torch.ones(2, dtype=dtype))
    param.grad = torch.ones(2, dtype=dtype)
    optimizer = Adan([param], **arguments)
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    assert param.tolist() == [1.0, 1.0] and not optimizer.state[param]


def test_betas_in_the_papers_convention_raise_a_warning_that_gives_the_right_ones():
    with pytest.warns(UserWarning, match=r"0\.98, 0\.92, 0\.99") as caught:
        Adan([scalar()], betas=(0.02, 0.08, 0.01))
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Adan([scalar()], betas=(0.5, 0.92, 0.99))


def test_implementation_tells_what_runs():
    small, large = [scalar(), scalar()], [torch.nn.Parameter(torch.zeros(1 << 19)), scalar()]
    assert Adan(small, fused=False).implementation == "foreach"
    assert Adan(large, fused=False).implementation == "single-tensor"
    assert Adan(large, foreach=True).implementation == "foreach"
    assert Adan([{"params": small}, {"params": large}], fused=False).implementation == "foreach+single-tensor"
    if has_compiler:
        assert Adan(small).implementation == "fused-cpp"


@pytest.mark.parametrize("foreach, parameters_held", [(False, 1), (True, 4)], ids=["single", "foreach"])
def test_a_step_holds_at_most_one_temporary_of_what_it_works_on(foreach, parameters_held):
    size = 1 << 16
    params = [torch.nn.Parameter(torch.ones(size)) for _ in range(4)]
    optimizer = Adan(params, foreach=foreach, max_grad_norm=1.0, weight_decay=0.1)
    for param in params:
        param.grad = torch.ones(size)
    optimizer.step()
    with torch.profiler.profile(profile_memory=True) as profile:
        optimizer.step()
    changes = [e.nbytes() for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    peak = max(np.cumsum(changes))
    expected = parameters_held * size * params[0].element_size()
    assert expected <= peak < 1.1 * expected
