"""Networks for CIFAR: fast.ai's WRN-22 (`wide_resnet`) and those of AdaBelief's runs.

The latter are as juntang-zhuang/Adabelief-Optimizer@2855178 defines them (PyTorch_Experiments/classification_cifar10/
models, by way of kuangliu/pytorch-cifar). ResNet-34 and DenseNet-121 are timm's and torchvision's with a 3 x 3 stem
that keeps the resolution, and with the initialisation of torch's layers, where the libraries draw their own. They end
in a mean over all positions, which is what the 4 x 4 pooling of the originals comes to at 32 pixels.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import timm
from torch import Tensor, nn
from torchvision.models import DenseNet

from experiments.models.wide_resnet import WideResNet
from experiments.schema.config import DataConfig, ModelConfig
from experiments.schema.errors import UserError, suggestion

# Channels of VGG-11's convolutions as multiples of the first one's; None halves the resolution.
VGG11 = (1, None, 2, None, 4, 4, None, 8, 8, None, 8, 8, None)


class VGG(nn.Module):
    """VGG-11 without batch norm, with a classifier of three layers whose dropout has probability `drop`.

    `width` is the number of channels of the first convolution. Pooling rounds up, which changes nothing at 32 pixels
    and leaves one position of 28.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 64, drop: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for multiple in VGG11:
            if multiple is None:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            else:
                layers += [nn.Conv2d(channels, multiple * width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = multiple * width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(drop),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Dropout(drop),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, num_classes),
        )
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (9 * layer.out_channels)))
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, 32, 32] (any size from 17 to 32)."""
        return self.classifier(self.features(images).flatten(1))


def vgg11(data: DataConfig, drop: float, width: int = 64) -> nn.Module:
    """VGG-11; its hidden layers are 8 `width` wide."""
    return VGG(data.channels, data.num_classes, width, drop)


def resnet34(
    data: DataConfig, layers: tuple[int, ...] = (3, 4, 6, 3), channels: tuple[int, ...] = (64, 128, 256, 512)
) -> nn.Module:
    """ResNet-34: as many basic blocks as `layers` says in four stages of `channels`, after a stem of 64 channels."""
    module = timm.create_model("resnet34", num_classes=data.num_classes, layers=layers, channels=channels)
    module.conv1 = nn.Conv2d(data.channels, 64, 3, padding=1, bias=False)
    module.maxpool = nn.Identity()
    return _with_torchs_initialisation(module)


def densenet121(data: DataConfig, growth: int = 32, blocks: tuple[int, ...] = (6, 12, 24, 16)) -> nn.Module:
    """DenseNet-121: four dense blocks of so many layers, each of which adds `growth` channels; transitions halve the
    channels and the resolution. The stem has twice `growth` channels and no norm."""
    module = DenseNet(growth, blocks, 2 * growth, num_classes=data.num_classes)
    module.features.conv0 = nn.Conv2d(data.channels, 2 * growth, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        setattr(module.features, name, nn.Identity())
    return _with_torchs_initialisation(module)


def wrn22(data: DataConfig, depth: int = 3, widening: int = 6) -> nn.Module:
    """fast.ai's WRN-22; with other depths 6 `depth` + 4 layers."""
    return WideResNet(data.channels, data.num_classes, depth, widening)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "cifar_vgg11": vgg11,
    "cifar_resnet34": resnet34,
    "cifar_densenet121": densenet121,
    "cifar_wrn22": wrn22,
}


def build(model: ModelConfig, data: DataConfig) -> nn.Module:
    """Build `model.name` for the classes and channels of `data`, untrained. `model.arguments` are those of its function
    above; `model.drop` is the dropout of VGG-11. Works under `torch.device("meta")`.

    Raises UserError for an unknown name, and for an argument, `drop` or `drop_path` that the model does not take.
    """
    if model.name not in MODELS:
        raise UserError(f"model.name={model.name!r}: no such network for CIFAR{suggestion(model.name, MODELS)}")
    function = MODELS[model.name]
    takes = [name for name in inspect.signature(function).parameters if name not in ("data", "drop")]
    for key in model.arguments:
        if key not in takes:
            raise UserError(f"model.arguments.{key}: {model.name} takes {', '.join(takes)}{suggestion(key, takes)}")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in model.arguments.items()}
    if function is vgg11:
        arguments["drop"] = model.drop
    elif model.drop:
        raise UserError(f"model.drop={model.drop}: {model.name} has no dropout; leave it at 0")
    if model.drop_path:
        raise UserError(f"model.drop_path={model.drop_path}: {model.name} drops no paths; leave it at 0")
    return function(data, **arguments)


def _with_torchs_initialisation(module: nn.Module) -> nn.Module:
    """Draw every convolution, norm and linear layer again, as torch's constructors do."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            layer.reset_parameters()
    return module
