"""SGD that becomes averaged SGD: torch's own two optimizers are the oracle."""

import random

import pytest
import torch

from experiments import optimizers
from experiments.optimizers.sgd_then_asgd import SGDThenASGD

SETTINGS = {"lr": 30.0, "momentum": 0.0, "nesterov": False, "weight_decay": 1e-3}
RATES = [0.3, 0.2, 0.5, 0.05, 0.1, 0.4]


def switching(parameters, average=True, **settings) -> SGDThenASGD:
    values = {**SETTINGS, "metric": "val_ppl", "patience": 2, "evaluate_average": average, **settings}
    return SGDThenASGD(parameters, **values)


def parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(3)
    return [torch.nn.Parameter(torch.randn(*shape, dtype=torch.float64)) for shape in ((4, 3), (5,))]


def steps(optimizer, values, rates, seed):
    generator = torch.Generator().manual_seed(seed)
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        for value in values:
            value.grad = torch.randn(value.shape, dtype=torch.float64, generator=generator)
        optimizer.step()


def switch(optimizer):
    for value in (3.0, 2.0, 1.0, 4.0):
        optimizer.after_evaluation({"val_ppl": value})


def test_before_the_switch_it_is_sgd_and_after_it_torchs_asgd():
    ours, theirs = parameters(), parameters()
    optimizer = switching(ours)
    steps(optimizer, ours, RATES, seed=0)
    steps(torch.optim.SGD(theirs, lr=1.0, weight_decay=1e-3), theirs, RATES, seed=0)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    switch(optimizer)
    assert optimizer.switched
    asgd = torch.optim.ASGD(theirs, lr=RATES[0], t0=0, lambd=0.0, weight_decay=1e-3)
    steps(optimizer, ours, RATES, seed=1)
    steps(asgd, theirs, RATES, seed=1)
    # Torch keeps ASGD's rate in float32.
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
        torch.testing.assert_close(optimizer.state[one]["average"], asgd.state[other]["ax"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("patience", [1, 5])
def test_the_trigger_is_that_of_the_awd_lstm_code(patience):
    draw = random.Random(patience)
    for _ in range(40):
        optimizer = switching(parameters(), patience=patience)
        past: list[float] = []
        for _ in range(15):
            value = draw.random() + 1 / (len(past) + 1)
            expected = len(past) > patience and value > min(past[:-patience])
            optimizer.after_evaluation({"val_ppl": value, "test_ppl": 0.0})
            assert optimizer.switched == expected
            if expected:
                break
            past.append(value)


def test_evaluations_see_the_average_and_training_goes_on_from_its_own():
    ours = parameters()
    optimizer = switching(ours)
    with optimizer.evaluation_parameters():
        assert torch.equal(ours[0], parameters()[0])
    switch(optimizer)
    seen = []
    for seed in range(4):
        steps(optimizer, ours, RATES[:1], seed=seed)
        seen.append(ours[0].detach().clone())
    with optimizer.evaluation_parameters():
        torch.testing.assert_close(ours[0].detach(), torch.stack(seen[1:]).mean(0))
    assert torch.equal(ours[0], seen[-1])
    optimizer.evaluate_average = False
    with optimizer.evaluation_parameters():
        assert torch.equal(ours[0], seen[-1])


@pytest.mark.parametrize("evaluations", [1, 3, 4])
def test_a_saved_state_goes_on_as_if_nothing_had_happened(evaluations):
    def run(interrupted: bool):
        values = parameters()
        optimizer = switching(values)
        for number, metric in enumerate((3.0, 2.0, 1.0, 4.0, 5.0)):
            steps(optimizer, values, RATES[number : number + 2], seed=number)
            optimizer.after_evaluation({"val_ppl": metric})
            if interrupted and number == evaluations:
                state = optimizer.state_dict()
                optimizer = switching(values)
                optimizer.load_state_dict(state)
        steps(optimizer, values, RATES, seed=9)
        return values, optimizer

    (values, optimizer), (expected, theirs) = run(interrupted=True), run(interrupted=False)
    assert all(map(torch.equal, values, expected)) and optimizer.switched and theirs.switched
    for one, other in zip(values, expected, strict=True):
        assert torch.equal(optimizer.state[one]["average"], theirs.state[other]["average"])


def test_it_is_built_by_the_name_sgd_and_asks_for_the_metric_that_it_follows():
    module = torch.nn.Linear(2, 2)
    optim = {"name": "sgd", **SETTINGS, "asgd_after": 5, "asgd_metric": "val_ppl", "asgd_average": False}
    optimizer = optimizers.build(optim, module)
    assert isinstance(optimizer, SGDThenASGD) and optimizers.describe(optimizer)["name"] == "sgd"
    assert type(optimizers.build({**optim, "asgd_after": 0}, module)) is torch.optim.SGD
    with pytest.raises(ValueError, match=r"optim\.asgd_metric=val_ppl: evaluations have top1"):
        optimizer.after_evaluation({"top1": 1.0})
