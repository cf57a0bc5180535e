"""`param_groups` and options edited between steps, as torch allows: the next step is the one they describe, or none."""

import pytest
import torch
from adan_implementations import EVERY
from hypothesis import given, settings
from hypothesis import strategies as st

from adan import Adan
from experiments.conformance.reference import ReferenceAdan

HYPER = {"lr": 0.05, "weight_decay": 0.1, "max_grad_norm": 0.5}
SHAPES = [(2, 3), (4,), (), (1,), (0,)]


def random(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Both:
    """An Adan in float64 and, by parameter, the states that the formulas give it."""

    def __init__(self, implementation):
        self.params = [torch.nn.Parameter(random(shape, i)) for i, shape in enumerate(SHAPES)]
        self.optimizer = Adan([{"params": self.params[:2]}, {"params": self.params[2:4]}], **HYPER, **implementation)
        self.states = {}
        self.seed = 100

    def step(self):
        groups = self.optimizer.param_groups
        keys = ("lr", "betas", "eps", "weight_decay", "max_grad_norm", "no_prox")
        reference = ReferenceAdan(
            [
                {**{k: g[k] for k in keys}, "lr": float(g["lr"]), "params": [p.detach().numpy() for p in g["params"]]}
                for g in groups
            ]
        )
        for group, expected in zip(groups, reference.groups, strict=True):
            expected["states"] = [self.states.get(param) for param in group["params"]]
        grads = []
        for group in groups:
            for param in group["params"]:
                self.seed += 1
                param.grad = random(param.shape, self.seed)
            grads.append([param.grad.numpy().copy() for param in group["params"]])
        self.optimizer.step()
        reference.step(grads)
        for group, expected in zip(groups, reference.groups, strict=True):
            for param, values, state in zip(group["params"], expected["params"], expected["states"], strict=True):
                torch.testing.assert_close(param.detach(), torch.as_tensor(values), rtol=1e-11, atol=1e-12)
                assert self.optimizer.state[param]["step"] == state[-1]
                self.states[param] = state

    def new_parameter(self):
        self.params.append(torch.nn.Parameter(random((3,), len(self.params))))
        return self.params[-1]

    def spare(self):
        """A parameter in no group: the fifth or a new one."""
        inside = {param for group in self.optimizer.param_groups for param in group["params"]}
        outside = [param for param in self.params if param not in inside]
        return outside[0] if outside else self.new_parameter()


def clear_and_add(both):
    both.optimizer.param_groups.clear()
    both.optimizer.state.clear()
    both.states.clear()
    both.optimizer.add_param_group({"params": both.params[:3]})


def assign_a_list(both):
    both.optimizer.param_groups = []
    both.optimizer.add_param_group({"params": both.params[1:4], "lr": 0.01})


def delete_a_group(both):
    del both.optimizer.param_groups[-1]


def append_a_group(both):
    both.optimizer.param_groups.append({**both.optimizer.defaults, "params": [both.spare()]})


def replace_a_group(both):
    groups = both.optimizer.param_groups
    if groups:
        groups[0] = {**groups[0], "lr": 0.02}


def reverse_groups(both):
    both.optimizer.param_groups.reverse()


def remove_a_parameter(both):
    for group in both.optimizer.param_groups[:1]:
        del group["params"][:1]


def add_a_parameter(both):
    for group in both.optimizer.param_groups[-1:]:
        group["params"].insert(0, both.spare())


def move_a_parameter(both):
    groups = both.optimizer.param_groups
    if groups and groups[0]["params"]:
        groups[-1]["params"].append(groups[0]["params"].pop())


def clear_one_state(both):
    param = both.params[0]
    both.optimizer.state[param].clear()
    both.states.pop(param, None)


def a_plain_dictionary_of_states(both):
    both.optimizer.state = {}
    both.states.clear()


def load_its_own(both):
    """Without states of parameters in no group, of which torch's own `state_dict` makes a KeyError."""
    inside = {param for group in both.optimizer.param_groups for param in group["params"]}
    for param in [param for param in both.optimizer.state if param not in inside]:
        del both.optimizer.state[param]
        both.states.pop(param, None)
    both.optimizer.load_state_dict(both.optimizer.state_dict())


def set_options(both):
    for group in both.optimizer.param_groups[:1]:
        group.update(lr=torch.tensor(0.03, dtype=torch.float64), betas=[0.9, 0.8, 0.95], no_prox=True, eps=1e-4)


EDITS = [
    *(clear_and_add, assign_a_list, delete_a_group, append_a_group, replace_a_group, reverse_groups),
    *(remove_a_parameter, add_a_parameter, move_a_parameter, clear_one_state, a_plain_dictionary_of_states),
    *(load_its_own, set_options),
]


@EVERY
@pytest.mark.parametrize("edit", EDITS)
def test_the_step_after_an_edit_is_that_of_the_formulas(edit, implementation):
    both = Both(implementation)
    both.step()
    both.step()
    edit(both)
    both.step()
    both.step()


@EVERY
@settings(max_examples=12, deadline=None, derandomize=True)
@given(edits=st.lists(st.one_of(st.none(), st.sampled_from(EDITS)), max_size=8))
def test_steps_after_any_edits_are_those_of_the_formulas(implementation, edits):
    both = Both(implementation)
    for edit in edits:
        if edit is None:
            both.step()
        else:
            edit(both)
    both.step()


NOT_A_NUMBER = [float("nan"), None, "0.1", True, torch.tensor(0.1), float("inf"), 1j]


@pytest.mark.parametrize("name", ["eps", "weight_decay", "max_grad_norm", "lr"])
@pytest.mark.parametrize("value", NOT_A_NUMBER, ids=str)
def test_a_number_that_is_none_is_refused_by_name_before_anything_changes(name, value):
    if name == "lr" and isinstance(value, torch.Tensor):
        value = torch.tensor(float("nan"))
    both = Both({})
    both.step()
    before = [param.detach().clone() for param in both.params]
    both.optimizer.param_groups[1][name] = value
    with pytest.raises(ValueError, match=rf"param_groups\[1\]: {name} must be"):
        both.optimizer.step()
    assert all(torch.equal(param, old) for param, old in zip(both.params, before, strict=True))
    assert both.optimizer.state[both.params[0]]["step"] == 1
    with pytest.raises(ValueError, match=f"{name} must be"):
        Adan([torch.nn.Parameter(torch.ones(1))], **{name: value})


@pytest.mark.parametrize(
    "betas",
    [
        *((0.9, 0.99), (0.9, 0.9, 0.9, 0.9), (0.9, 0.9, float("nan")), torch.tensor([0.9, 0.9, 0.9]), None, "abc"),
        *(0.9, (True, 0.9, 0.9), (0.9, 0.9, None), (0.9, 0.9, torch.tensor(0.9))),
    ],
    ids=str,
)
def test_betas_that_are_not_three_numbers_are_refused(betas):
    both = Both({})
    both.step()
    both.optimizer.param_groups[0]["betas"] = betas
    with pytest.raises(ValueError, match=r"param_groups\[0\]: betas must be three numbers"):
        both.optimizer.step()
    with pytest.raises(ValueError, match="betas must be three numbers"):
        Adan([torch.nn.Parameter(torch.ones(1))], betas=betas)


@pytest.mark.parametrize(
    "name, value", [("no_prox", "no"), ("foreach", "auto"), ("state_rounding", None), ("fused", 2)]
)
def test_choices_that_there_are_not_are_refused(name, value):
    both = Both({})
    both.optimizer.param_groups[0][name] = value
    with pytest.raises(ValueError, match=f"{name} must be"):
        both.optimizer.step()


def test_a_rate_that_a_schedule_rounds_below_zero_is_taken():
    both = Both({})
    both.step()
    both.optimizer.param_groups[0]["lr"] = -1e-18
    both.step()


@pytest.mark.parametrize(
    "group, message",
    [
        ({"lr": 0.1}, "'params' is a list of tensors"),
        ({"params": torch.ones(2)}, "'params' is a list of tensors"),
        ({"params": []}, "options lr, betas"),
    ],
)
def test_groups_that_are_none_are_refused(group, message):
    both = Both({})
    both.step()
    both.optimizer.param_groups.append(group)
    with pytest.raises(ValueError, match=rf"param_groups\[2\].*{message}"):
        both.optimizer.step()


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_named_twice_is_refused():
    param = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="would be stepped twice"):
        Adan([param, param])
    both = Both({})
    both.optimizer.param_groups[0]["params"].append(both.params[3])
    with pytest.raises(ValueError, match="would be stepped twice"):
        both.optimizer.step()


@EVERY
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"])
def test_the_data_of_one_layers_state_may_be_replaced(name, implementation):
    """Of a layer in the middle, and of one of its states."""
    params = [torch.nn.Parameter(random((4,), i)) for i in range(4)]
    twins = [torch.nn.Parameter(param.detach().clone()) for param in params]
    optimizer, other = Adan(params, lr=0.1, **implementation), Adan(twins, lr=0.1, foreach=False)
    for seed in range(4):
        for these, stepping in ((params, optimizer), (twins, other)):
            if seed == 2:
                stepping.state[these[1]][name].data = torch.full((4,), 2.0, dtype=torch.float64)
                these[2].data = torch.full((4,), 3.0, dtype=torch.float64)
            for index, param in enumerate(these):
                param.grad = random((4,), 10 * seed + index)
            stepping.step()
    for param, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(param, twin, rtol=1e-12, atol=1e-12)


@EVERY
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"])
@pytest.mark.parametrize("value", [torch.zeros(1, dtype=torch.float64), torch.zeros(4), None], ids=["1", "type", "-"])
def test_a_state_that_does_not_fit_is_refused_before_anything_changes(name, value, implementation):
    both = Both(implementation)
    both.step()
    before = [param.detach().clone() for param in both.params]
    if value is None:
        del both.optimizer.state[both.params[1]][name]
    else:
        both.optimizer.state[both.params[1]][name] = value
    with pytest.raises(RuntimeError, match=r"state '|its states"):
        both.optimizer.step()
    assert all(torch.equal(param, old) for param, old in zip(both.params, before, strict=True))
