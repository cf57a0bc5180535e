import pytest
import torch
from torch import nn

from experiments import models
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError

IMAGENET = DataConfig("imagenet", num_classes=1000)
MNIST = DataConfig("mnist", num_classes=10, channels=1, image_size=28)
MINI = {
    "deit_tiny_patch16_224": {"patch_size": 7, "embed_dim": 64, "depth": 4, "num_heads": 2},
    "resnet18": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "small_input": True},
    "convnext_tiny": {"depths": [1, 1, 2, 1], "dims": [32, 64, 128, 256], "patch_size": 3},
    "swin_tiny_patch4_window7_224": {"embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4]},
}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deit_small_patch16_224", 22_050_664),
        ("deit_base_patch16_224", 86_567_656),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("convnext_tiny_hnf", 28_589_128),
        ("convnext_small", 50_223_688),
        ("swin_tiny_patch4_window7_224", 28_288_354),
        ("swin_small_patch4_window7_224", 49_606_258),
        ("swin_base_patch4_window7_224", 87_768_224),
    ],
)
def test_the_models_of_the_paper_have_their_sizes_without_using_memory(name, expected):
    with torch.device("meta"):
        module = models.build(ModelConfig(name, drop_path=0.1), IMAGENET)
    assert parameters(module) == expected
    assert all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize("name", MINI)
def test_small_members_of_every_family_learn_from_small_grey_images(name):
    module = models.build(ModelConfig(name, MINI[name], drop_path=0.05), MNIST)
    logits = module(torch.randn(4, 1, 28, 28))
    assert logits.shape == (4, 10)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert parameters(module) < 1_100_000


def test_small_input_doubles_the_resolution_that_the_stages_of_a_resnet_see():
    sizes = []
    for small_input in (False, True):
        arguments = {**MINI["resnet18"], "small_input": small_input}
        module = models.build(ModelConfig("resnet18", arguments), MNIST).eval()
        sizes.append(module.forward_features(torch.zeros(1, 1, 28, 28)).shape[-1])
    assert sizes == [1, 2]


def test_small_stem_keeps_the_resolution_and_is_drawn_as_timm_draws_it():
    arguments = {**MINI["resnet18"], "small_stem": True}
    module = models.build(ModelConfig("resnet18", arguments), MNIST).eval()
    assert module.forward_features(torch.zeros(1, 1, 28, 28)).shape[-1] == 4
    weight = module.conv1.weight
    assert weight.shape == (64, 1, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)  # of 576 draws


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig("resnet5"), "did you mean 'resnet5"),
        (ModelConfig("resnet50", {"img_size": 28}), "do not suit resnet50"),
        (ModelConfig("deit_tiny_patch16_224", {"small_input": True}), "no max-pooling"),
        (ModelConfig("deit_tiny_patch16_224", {"small_stem": True}), "no first convolution"),
        (ModelConfig("deit_tiny_patch16_224", {"embed_dim": 64, "num_heads": 3}), "do not suit deit_tiny"),
    ],
)
def test_models_that_cannot_be_built_are_refused(model, message):
    with pytest.raises(UserError, match=message):
        models.build(model, IMAGENET)
