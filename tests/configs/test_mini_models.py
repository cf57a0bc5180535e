"""The shrunk models: of their own family, small, alive."""

from __future__ import annotations

import re

import pytest
import torch
from config_files import EXPERIMENTS
from torch import nn

from experiments.models import build
from experiments.schema.compose import compose

BLOCKS = {
    "resnet18": "BasicBlock",
    "resnet50": "Bottleneck",
    "resnet101": "Bottleneck",
    "convnext": "ConvNeXtBlock",
    "vit": "Attention",
    "swin": "SwinTransformerBlock",
    "cifar10_vgg11": "VGG",
    "cifar10_resnet34": "BasicBlock",
    "cifar10_densenet121": "_DenseLayer",
    "cifar10_wrn22": "WideResNet",
    "cifar100_vgg11": "VGG",
    "cifar100_resnet34": "BasicBlock",
    "cifar100_densenet121": "_DenseLayer",
}

OF_IMAGES = [name for name, tree in EXPERIMENTS.items() if tree["task"] == "image_classification"]


def mini_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    (config,) = compose([f"exp={name}", "optim=adan", "scale=mini"])
    return build(config.model, config.data)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_mini_model_learns_from_grey_28_pixel_images(name):
    module = mini_model(name)
    logits = module(torch.randn(4, 1, 28, 28))
    assert logits.shape == (4, 10)
    logits.square().mean().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_mini_model_has_the_blocks_of_its_family_and_the_stated_size(name):
    module = mini_model(name)
    kinds = {type(part).__name__ for part in module.modules()}
    family = next(block for prefix, block in BLOCKS.items() if name.startswith(prefix))
    assert family in kinds
    stated = re.match(r"([\d,]+) parameters", EXPERIMENTS[name]["mini"]["reason"])
    assert int(stated[1].replace(",", "")) == parameters(module)


@pytest.mark.parametrize("name", ["swin_tiny", "swin_small", "swin_base"])
def test_a_mini_swin_keeps_its_shifted_windows(name):
    blocks = [part for part in mini_model(name).modules() if type(part).__name__ == "SwinTransformerBlock"]
    assert any(max(block.shift_size) > 0 for block in blocks)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        *[("vit_small", "vit_base"), ("resnet50", "resnet101"), ("convnext_tiny", "convnext_small")],
        *[("swin_tiny", "swin_small"), ("swin_small", "swin_base")],
    ],
)
def test_siblings_keep_their_order_of_size(small, large):
    assert parameters(mini_model(small)) < parameters(mini_model(large))


@pytest.mark.parametrize("name", OF_IMAGES)
def test_another_data_set_can_be_chosen_at_mini_scale(name):
    (config,) = compose([f"exp={name}", "optim=adan", "scale=mini", "data=cifar10"])
    assert build(config.model, config.data)(torch.randn(2, 3, 32, 32)).shape == (2, 10)
