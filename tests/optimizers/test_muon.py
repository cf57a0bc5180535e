"""Muon and AdamW as one optimizer: who steps what, rates, groups, checkpoints, copies."""

import copy
import io
import pickle
import re

import pytest
import timm
import torch

from experiments import optimizers
from experiments.schema.errors import UserError


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(6, 4)
        self.hidden = torch.nn.Linear(4, 8)
        self.norm = torch.nn.LayerNorm(8)
        self.relative_position_bias_table = torch.nn.Parameter(torch.randn(3, 8))
        self.head = torch.nn.Linear(8, 2)

    def no_weight_decay(self):
        return {"relative_position_bias_table"}

    def backward(self):
        features = self.norm(self.hidden(self.embedding(torch.arange(6)))) + self.relative_position_bias_table.sum(0)
        (self.head(features) - 1).square().sum().backward()


def built(seed=0, **settings):
    torch.manual_seed(seed)
    net = Net()
    return net, optimizers.build({"name": "muon", "lr": 0.02, "weight_decay": 0.1, **settings}, net)


def train(net, optimizer, rates):
    for rate in rates:
        for group in optimizer.param_groups:  # as the training loop does
            group["lr"] = rate
        optimizer.zero_grad()
        net.backward()
        optimizer.step()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def names_stepped_by_muon(optimizer):
    return {name for group in optimizer.parts[0].param_groups for name in group["names"]}


def test_hidden_matrices_go_to_muon_and_all_else_to_adamw_with_the_decay_of_their_groups():
    _, optimizer = built()
    groups = [(set(group["names"]), group["weight_decay"], "momentum" in group) for group in optimizer.param_groups]
    assert groups == [
        ({"hidden.weight"}, 0.1, True),
        ({"embedding.weight", "head.weight"}, 0.1, False),
        ({"hidden.bias", "norm.weight", "norm.bias", "head.bias", "relative_position_bias_table"}, 0.0, False),
    ]


@pytest.mark.parametrize(
    "name, hidden",
    [
        ("deit_tiny_patch16_224", r"blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight"),
        ("swin_tiny_patch4_window7_224", r"layers\.\d+\.(blocks\.\d+\.(attn|mlp)\..*|downsample\.reduction)\.weight"),
    ],
)
def test_in_the_suites_transformers_muon_steps_the_matrices_of_the_blocks(name, hidden):
    with torch.device("meta"):
        module = timm.create_model(name)
    optimizer = optimizers.build({"name": "muon"}, module)
    matrices = {key for key, p in module.named_parameters() if p.ndim == 2}
    assert names_stepped_by_muon(optimizer) == {key for key in matrices if re.fullmatch(hidden, key)}
    assert len(names_stepped_by_muon(optimizer)) > 40


def test_a_network_of_convolutions_is_stepped_by_adamw_alone():
    with torch.device("meta"):
        module = timm.create_model("resnet18")
    [part] = optimizers.build({"name": "muon"}, module).parts
    assert type(part) is torch.optim.AdamW


def test_names_choose_what_adamw_steps():
    _, optimizer = built(adamw_names="head.*, hidden.*")
    assert names_stepped_by_muon(optimizer) == {"embedding.weight", "relative_position_bias_table"}


def test_it_is_both_optimizers_side_by_side_and_their_rates_move_together():
    net, optimizer = built(adamw_lr_ratio=0.25, adjust_lr="original", momentum=0.9)
    twin = copy.deepcopy(net)
    named = dict(twin.named_parameters())
    undecayed = [named.pop(name) for name in sorted(named) if named[name].ndim < 2 or "table" in name]
    muon = torch.optim.Muon([named.pop("hidden.weight")], lr=0.02, weight_decay=0.1, momentum=0.9)
    adamw = torch.optim.AdamW(
        [{"params": named.values(), "weight_decay": 0.1}, {"params": undecayed, "weight_decay": 0}]
    )
    for rate in (0.02, 0.01, 0.04):
        train(net, optimizer, [rate])
        muon.param_groups[0]["lr"] = rate
        for group in adamw.param_groups:
            group["lr"] = rate * 0.25
        twin.zero_grad()
        twin.backward()
        muon.step()
        adamw.step()
        assert same(net, twin)
        assert {group["lr"] for group in optimizer.param_groups} == {rate}


def test_a_checkpoint_goes_on_bitwise_in_a_fresh_optimizer():
    net, optimizer = built()
    train(net, optimizer, [0.02, 0.01, 0.005])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other, twin = built(seed=1, lr=1.0, momentum=0.5)
    other.load_state_dict(net.state_dict())
    twin.load_state_dict(torch.load(file, weights_only=True))
    rates = [0.02, 0.03, 0.04]
    train(net, optimizer, rates)
    train(other, twin, rates)
    assert same(net, other)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_by_itself(copied):
    net, optimizer = built()
    train(net, optimizer, [0.02] * 3)
    other, twin = copied((net, optimizer))
    train(net, optimizer, [0.02] * 3)
    assert not same(net, other)
    train(other, twin, [0.02] * 3)
    assert same(net, other)


def test_gradients_are_left_alone_and_a_closure_is_called():
    net, optimizer = built()
    net.backward()
    before = [p.grad.clone() for p in net.parameters()]
    assert optimizer.step(lambda: 7.0) == 7.0
    assert all(torch.equal(p.grad, grad) for p, grad in zip(net.parameters(), before, strict=True))


def test_a_late_group_is_refused():
    _, optimizer = built()
    with pytest.raises(RuntimeError, match="at construction"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(2, 2))]})


def test_a_torch_without_muon_is_a_users_error(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match=r"optim=muon: torch .* has no torch\.optim\.Muon.*optim=adamw"):
        built()
