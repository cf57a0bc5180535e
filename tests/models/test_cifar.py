"""The networks of AdaBelief's and fast.ai's CIFAR runs: their sizes, their initialisation, what they compute."""

import math

import pytest
import torch
from torch import nn

from experiments import models
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError

CIFAR10 = DataConfig("cifar10", num_classes=10, image_size=32)
CIFAR100 = DataConfig("cifar100", num_classes=100, image_size=32)
MNIST = DataConfig("mnist", num_classes=10, channels=1, image_size=28)
SIZES = [
    ("cifar_vgg11", 9_750_922, 9_797_092),
    ("cifar_resnet34", 21_282_122, 21_328_292),
    ("cifar_densenet121", 6_956_298, 7_048_548),
    ("cifar_wrn22", 9_658_458, 9_693_108),
]
NAMES = [name for name, *_ in SIZES]
SMALL = {
    "cifar_vgg11": {"width": 4},
    "cifar_resnet34": {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32]},
    "cifar_densenet121": {"growth": 4, "blocks": [1, 2, 2, 1]},
    "cifar_wrn22": {"depth": 1, "widening": 1},
}


def built(name, data=CIFAR10, arguments=None):
    torch.manual_seed(0)
    return models.build(ModelConfig(name, arguments or {}, drop=0.5 if name == "cifar_vgg11" else 0.0), data)


def layers(module, kind):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


@pytest.mark.parametrize(("name", "of_ten", "of_hundred"), SIZES)
def test_a_network_has_its_size_without_using_memory(name, of_ten, of_hundred):
    for data, expected in ((CIFAR10, of_ten), (CIFAR100, of_hundred)):
        with torch.device("meta"):
            module = built(name, data)
        assert sum(parameter.numel() for parameter in module.parameters()) == expected
        assert all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_stem_keeps_the_resolution_and_stages_halve_it(name):
    module = built(name).eval()
    sizes = []
    for layer in layers(module, nn.Conv2d):
        layer.register_forward_hook(lambda layer, inputs, output: sizes.append(output.shape[-1]))
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert sizes[0] == 32 and sizes[-1] == {"cifar_vgg11": 2, "cifar_wrn22": 8}.get(name, 4)
    assert sorted(set(sizes), reverse=True) == [32, 16, 8, 4, 2][: len(set(sizes))]


def test_vgg_draws_convolutions_by_their_outputs_and_has_no_bias_at_first():
    for layer in layers(built("cifar_vgg11"), nn.Conv2d):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * layer.out_channels)), rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize("name", NAMES)
def test_all_else_is_drawn_as_torch_draws_it(name):
    """Uniform within 1 / sqrt(inputs), norms at 1 and 0."""
    module = built(name)
    drawn = layers(module, nn.Linear) + (layers(module, nn.Conv2d) if name != "cifar_vgg11" else [])
    for layer in drawn:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert layer.bias is None or 0 < layer.bias.abs().max() <= bound
    for norm in layers(module, nn.BatchNorm2d):
        assert (norm.weight == 1).all() and not norm.bias.any()
        assert (norm.eps, norm.momentum) == (1e-5, 0.1)


def test_convolutions_before_a_norm_have_no_bias():
    for name in ("cifar_resnet34", "cifar_densenet121", "cifar_wrn22"):
        assert all(layer.bias is None for layer in layers(built(name), nn.Conv2d))


def test_a_block_of_wrn22_adds_a_fifth_of_its_residual_to_the_normed_input():
    block = built("cifar_wrn22").eval().blocks[1]  # as wide as what enters it
    features = torch.randn(2, 96, 8, 8)
    entering = torch.relu(features / math.sqrt(1 + 1e-5))
    residual = block.conv2(torch.relu(block.conv1(entering) / math.sqrt(1 + 1e-5)))
    torch.testing.assert_close(block(features), entering + 0.2 * residual)


def test_vgg_drops_half_of_what_enters_its_two_hidden_layers():
    drops = layers(built("cifar_vgg11"), nn.Dropout)
    assert [layer.p for layer in drops] == [0.5, 0.5]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_one_learns_from_small_grey_images(name):
    module = built(name, MNIST, SMALL[name])
    logits = module(torch.randn(4, 1, 28, 28))
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert sum(parameter.numel() for parameter in module.parameters()) < 100_000


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig("cifar_resnet43"), "did you mean 'cifar_resnet34'"),
        (ModelConfig("cifar_resnet34", {"chanels": [1]}), "takes layers, channels; did you mean 'channels'"),
        (ModelConfig("cifar_resnet34", drop=0.5), "cifar_resnet34 has no dropout"),
        (ModelConfig("cifar_densenet121", drop_path=0.5), "drops no paths"),
    ],
)
def test_what_a_network_does_not_take_is_refused(model, message):
    with pytest.raises(UserError, match=message):
        models.build(model, CIFAR10)
