"""fast.ai's head on a ResNet: its size, what freezing keeps, the rates of its three layers, weights from a file."""

import pytest
import torch
from timm import create_model

from experiments import models, optimizers
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError

CARS = DataConfig("cars", num_classes=196)
TEN = DataConfig("mnist", num_classes=10, channels=1, image_size=28)
SMALL = {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32], "zero_init_last": False}
OPTIM = {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "decay_bias_and_norm": True}


def small(**arguments):
    torch.manual_seed(0)
    return models.build(ModelConfig("resnet50_concat_head", {**SMALL, **arguments}), TEN)


def test_the_size_is_that_of_the_parts_counted_by_hand():
    with torch.device("meta"):
        module = models.build(ModelConfig("resnet50_concat_head"), CARS)
    body = 25_557_032 - (2048 * 1000 + 1000)  # torchvision's ResNet-50 without its last layer
    head = 2 * 4096 + (4096 * 512 + 512) + 2 * 512 + (512 * 196 + 196)
    assert sum(parameter.numel() for parameter in module.parameters()) == body + head == 25_715_460


def test_the_head_takes_maxima_before_means():
    module = small().eval()
    taken = []
    module.head.register_forward_hook(lambda layer, inputs, output: taken.append(inputs[0]))
    pixels = torch.randn(2, 1, 28, 28)
    module(pixels)
    found = module.body(pixels).flatten(2)
    assert torch.equal(taken[0], torch.cat([found.max(2).values, found.mean(2)], dim=1))


def test_a_frozen_body_keeps_its_weights_and_its_statistics():
    module = small(frozen_body=True).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = optimizers.build(OPTIM, module)
    for _ in range(3):
        module(torch.randn(8, 1, 28, 28)).square().sum().backward()
        optimizer.step()
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("body."))
    assert all(not torch.equal(before[name], after[name]) for name in before if name.startswith("head."))


def test_layer_decay_of_a_third_is_fast_ais_three_rates():
    module = small()
    groups = optimizers.build({**OPTIM, "layer_decay": 1 / 3}, module).param_groups
    scales = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert set(scales) == {name for name, _ in module.named_parameters()}
    for name, scale in scales.items():
        low = name.startswith(("body.conv1", "body.bn1", "body.layer1", "body.layer2"))
        assert scale == pytest.approx(1 / 9 if low else 1 / 3 if name.startswith("body.") else 1.0, rel=1e-15), name


def test_weights_of_a_whole_resnet_are_taken_but_for_its_last_layer():
    whole = create_model("resnet50", in_chans=1, num_classes=7, **SMALL)
    module = small()
    module.load_body(whole.state_dict())
    assert torch.equal(module.body.layer4[0].conv3.weight, whole.layer4[0].conv3.weight)
    with pytest.raises(UserError, match="do not fit this ResNet"):
        module.load_body({"conv1.weight": torch.zeros(1)})


def test_a_body_that_is_no_resnet_is_refused():
    with pytest.raises(UserError, match="must be one of timm's ResNets, such as resnet50_concat_head"):
        models.build(ModelConfig("vit_tiny_patch16_224_concat_head"), CARS)
