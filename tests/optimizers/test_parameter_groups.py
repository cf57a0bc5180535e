"""Who decays, by timm's rule or all; rates that differ from layer to layer."""

import pytest
import torch
from torch import nn

from experiments.optimizers import build
from experiments.optimizers.parameter_groups import parameter_groups
from experiments.optimizers.schedules import rate
from experiments.optimizers.stacked_runs import set_momenta, set_rates
from experiments.schema.config import ScheduleConfig
from experiments.schema.errors import UserError


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


@pytest.fixture(scope="module")
def vision_transformer():
    timm = pytest.importorskip("timm")
    return timm.create_model("vit_tiny_patch16_224", depth=2, embed_dim=12, num_heads=2, img_size=32, num_classes=4)


def test_with_layer_decay_groups_and_rates_are_timms(vision_transformer):
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    optim = {"name": "adamw", "lr": 0.1, "weight_decay": 0.05, "layer_decay": 0.5}
    ours = build(optim, vision_transformer)
    theirs = create_optimizer_v2(vision_transformer, opt="adamw", lr=0.1, weight_decay=0.05, layer_decay=0.5)
    schedule = ScheduleConfig(epochs=5)
    scheduler = CosineLRScheduler(theirs, t_initial=5)
    for epoch in range(5):
        scheduler.step(epoch)
        set_rates(ours, [rate(schedule, 0.1, epoch)])
        for own, their in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert [id(parameter) for parameter in own["params"]] == [id(parameter) for parameter in their["params"]]
            assert own["lr"] == pytest.approx(their["lr"], rel=1e-12)
            assert own["weight_decay"] == their["weight_decay"]
    names = dict(vision_transformer.named_parameters())
    for group in ours.param_groups:
        assert all(names[name] is parameter for name, parameter in zip(group["names"], group["params"], strict=True))
    assert [group["lr_scale"] for group in ours.param_groups if "head.weight" in group["names"]] == [1.0]


@pytest.mark.parametrize("name", ["muon", "sam"])
def test_optimizers_made_of_others_keep_the_rates_of_layers(vision_transformer, name):
    optimizer = build({"name": name, "lr": 0.1, "layer_decay": 0.5}, vision_transformer)
    set_rates(optimizer, [0.2])
    assert {group["lr"] for group in optimizer.param_groups} == {0.2, 0.1, 0.05, 0.025}


def test_a_module_that_does_not_tell_its_layers_has_no_layer_decay():
    with pytest.raises(UserError, match=r"layer_decay=0\.5: Tiny does not tell its layers.*layer_decay=1\?"):
        build({"name": "adamw", "layer_decay": 0.5}, Tiny())


def test_a_momentum_that_is_set_reaches_every_kind_of_group():
    adan, sgd = build({"name": "adan"}, Tiny()), build({"name": "sgd"}, Tiny())
    for optimizer in (adan, sgd):
        set_momenta(optimizer, [0.85])
    assert {group["betas"] for group in adan.param_groups} == {(0.85, 0.92, 0.99)}
    assert {group["momentum"] for group in sgd.param_groups} == {0.85}
