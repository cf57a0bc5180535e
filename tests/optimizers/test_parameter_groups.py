"""Who decays, by timm's rule or all."""

import pytest
import torch
from torch import nn

from experiments.optimizers.parameter_groups import parameter_groups


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(2, 2))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(4, 2).requires_grad_(False)
        self.experts = nn.ModuleList([nn.ParameterDict({"router": torch.zeros(2, 2), "value": torch.zeros(2, 2)})])
        self.table_bias_like = nn.Parameter(torch.zeros(3, 3))

    def no_weight_decay(self):
        return {"token", "experts.*.router"}


def test_biases_norms_and_named_parameters_do_not_decay():
    decayed, undecayed = parameter_groups(Tiny(), 0.05, decay_bias_and_norm=False)
    assert decayed["weight_decay"] == 0.05
    assert set(decayed["names"]) == {
        "table_bias_like",
        "head.weight",
        "experts.0.value",
    }
    assert undecayed["weight_decay"] == 0.0
    exempt_by_name = {"token", "experts.0.router"}
    assert set(undecayed["names"]) == {"scale", "bias", "norm.weight", "norm.bias", "head.bias", *exempt_by_name}


def test_with_decay_of_biases_and_norms_all_free_parameters_decay():
    module = Tiny()
    (group,) = parameter_groups(module, 0.05, decay_bias_and_norm=True)
    assert group["weight_decay"] == 0.05
    assert group["names"] == [name for name, p in module.named_parameters() if p.requires_grad]
    named = dict(module.named_parameters())
    assert all(p is named[name] for name, p in zip(group["names"], group["params"], strict=True))


def test_no_group_is_empty():
    assert len(parameter_groups(nn.LayerNorm(3), 0.1, decay_bias_and_norm=False)) == 1
    assert len(parameter_groups(nn.Linear(3, 3, bias=False), 0.1, decay_bias_and_norm=False)) == 1


def members_by_decay(groups):
    return {group["weight_decay"]: {id(param) for param in group["params"]} for group in groups}


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_tiny", "resnet18"])
def test_the_same_split_as_timms(name):
    timm = pytest.importorskip("timm")
    from timm.optim import param_groups_weight_decay

    with torch.device("meta"):
        module = timm.create_model(name)
    exempt = module.no_weight_decay() if hasattr(module, "no_weight_decay") else ()
    theirs = param_groups_weight_decay(module, 0.05, no_weight_decay_list=exempt)
    assert members_by_decay(parameter_groups(module, 0.05, False)) == members_by_decay(theirs)
